# Two images from one file: `operator` decides and launches, `worker` moves data. Neither carries the other's libraries.
#   docker build --target operator -t penstock-operator .
#   docker build --target worker   -t penstock-worker .
# Both run as a non-root user on a read-only root; they write to mounted volumes only.
ARG BASE=python:3.12-slim

FROM ${BASE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/penstock/bin:$PATH
RUN python -m venv /opt/penstock
WORKDIR /src

FROM base AS wheel
# The build back end is locked too: the wheel is made without isolation, from what dev.txt pins.
COPY requirements/dev.txt requirements/
RUN python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements/dev.txt
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
