"""What kubectl makes of our definitions and examples: applied twice, compared, explained, and who may touch them."""

from pathlib import Path

import pytest

from penstock.api import objects
from support.clusters import ROOT, Cluster, Session

EXAMPLES = sorted(folder for folder in (ROOT / "examples").iterdir() if folder.is_dir())
ROLES = [
    ("penstock-viewer", "get", "pipelines.penstock.dev", True),
    ("penstock-viewer", "create", "pipelines.penstock.dev", False),
    ("penstock-viewer", "get", "secrets", False),
    ("penstock-editor", "create", "pipelines.penstock.dev", True),
    ("penstock-editor", "patch", "pipelines.penstock.dev/status", False),
    ("penstock-editor", "create", "jobs.batch", False),
    ("view", "list", "pipelines.penstock.dev", True),
    ("view", "create", "pipelines.penstock.dev", False),
    ("edit", "patch", "pipelines.penstock.dev", True),
    ("edit", "patch", "pipelines.penstock.dev/status", False),
    ("admin", "delete", "pipelines.penstock.dev", True),
    ("admin", "patch", "pipelines.penstock.dev/status", False),
    ("penstock-operator", "create", "jobs.batch", True),
    ("penstock-operator", "patch", "pipelines.penstock.dev/status", True),
    ("penstock-operator", "update", "pipelines.penstock.dev", False),
    ("penstock-operator", "get", "secrets", False),
    ("penstock-operator", "list", "secrets", False),
    ("penstock-operator", "create", "pods/exec", False),
]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_is_accepted_and_a_second_apply_changes_nothing(session: Session, folder: Path) -> None:
    files = [str(path) for path in sorted(folder.glob("*.yaml"))]
    arguments = [part for path in files for part in ("-f", path)]
    session.kubectl("apply", "--dry-run=server", *arguments)
    session.kubectl("apply", *arguments)
    again = session.kubectl("apply", *arguments).splitlines()
    assert again
    assert all(line.endswith("unchanged") for line in again), again
    assert session.kubectl("diff", *arguments) == ""
    session.kubectl("delete", "--wait=false", *arguments)


@pytest.mark.parametrize("kind", objects.KINDS.values(), ids=lambda kind: kind.name)
def test_explain_reads_like_documentation(cluster: Cluster, kind: objects.Kind) -> None:
    session = Session(cluster, "default")
    told = session.kubectl("explain", f"{kind.singular}.spec", "--recursive")
    assert "<no description>" not in session.kubectl("explain", f"{kind.singular}.spec")
    assert kind.name in told
    assert "FIELDS:" in told


@pytest.mark.skipif("config.getoption('--cluster') == 'embedded'", reason="single-user: it has no roles")
@pytest.mark.parametrize(("role", "verb", "resource", "allowed"), ROLES)
def test_a_role_may_do_what_it_says_and_no_more(
    session: Session, role: str, verb: str, resource: str, *, allowed: bool
) -> None:
    session.kubectl("create", "rolebinding", "tried", f"--clusterrole={role}", f"--user={role}")
    name, _, subresource = resource.partition("/")
    asked = ("auth", "can-i", verb, name, f"--subresource={subresource}", f"--as={role}")
    wanted = "yes" if allowed else "no"  # soon: the cluster's own roles are made up of ours by a controller
    session.until(
        lambda: session.kubectl(*asked, check=False).strip().splitlines()[-1].startswith(wanted), f"{role} {asked}", 30
    )
