# Two images from one file: `operator` decides and launches, `worker` moves data. Neither carries the other's libraries.
#   docker build --target operator -t penstock-operator .
#   docker build --target worker   -t penstock-worker .
# Both run as a non-root user on a read-only root; they write to mounted volumes only.
# BASE is any image with Python 3.11 or newer, its venv and pip. It is pinned by digest (an index of all platforms), so
# every build begins with the same bytes. To renew it, look up the digest of the tag: docker pull python:3.12-slim
ARG BASE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

FROM ${BASE} AS base
# USER: libraries that ask who they are (kopf does) find no name for our uid in the image's user database.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 USER=penstock PATH=/opt/penstock/bin:$PATH
# Debian calls it python3 only; inside the environment it is `python` everywhere.
RUN python3 -m venv /opt/penstock
WORKDIR /src

FROM base AS wheel
# The build back end is locked too, by its lines of dev.txt: the wheel is made without isolation, from exactly those.
COPY requirements/dev.txt .
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } keep' dev.txt > build.txt \
 && python -m pip install --no-cache-dir --require-hashes --no-deps -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM base AS operator
COPY requirements/operator.txt .
RUN python -m pip install --no-cache-dir --require-hashes --no-deps -r operator.txt
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532:65532
ENTRYPOINT ["penstock", "operate"]

FROM base AS worker
COPY requirements/worker.txt .
RUN python -m pip install --no-cache-dir --require-hashes --no-deps -r worker.txt
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532:65532
ENTRYPOINT ["penstock", "work"]
