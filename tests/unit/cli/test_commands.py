"""The command line as its users meet it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import commands


def _run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, arguments, input=given)


def test_help_lists_the_commands_in_the_order_one_meets_them() -> None:
    told = _run("--help").output
    listed = [line.split()[0] for line in told.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == [name for name in commands.COMMANDS if name in listed]
    assert {"validate", "crds", "operate", "work"} <= set(listed)


def test_an_unknown_command_is_wrong_usage_and_told_with_the_nearest() -> None:
    assert _run("nonsense").exit_code == 2
    assert 'there is no command "validat"; did you mean validate?' in _run("validat").output


def test_without_a_cluster_one_sentence_says_how_to_get_one(tmp_path: Path) -> None:
    told = _run("get", "--kubeconfig", str(tmp_path / "none"))
    assert told.output == (
        f"Error: there is no kubeconfig at {tmp_path}/none. Set KUBECONFIG, or start a cluster: penstock up\n"
    )
    (tmp_path / "odd").write_text("x")
    assert "is not a kubeconfig" in _run("get", "--kubeconfig", str(tmp_path / "odd")).output


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    told = _run(name, "--help")
    assert told.exit_code == 0
    assert len(told.output.splitlines()) > 4
    assert "\\b" not in told.output, "an example's line break is not seen as one"


def test_a_path_that_is_not_there_is_one_sentence() -> None:
    told = _run("validate", "-f", "/nowhere")
    assert (told.exit_code, told.output) == (1, "Error: /nowhere: no such file or folder\n")


@pytest.mark.parametrize("folder", ["/proc/x", "/proc"])
def test_a_folder_that_cannot_be_made_or_written_is_one_sentence(folder: str) -> None:
    told = _run("up", "--folder", folder)
    assert told.exit_code == 1
    assert told.output == f"Error: {folder} cannot be written: No such file or directory. Choose another --folder.\n"


def test_validate_tells_place_fault_and_remedy() -> None:
    told = _run("validate", "-f", "-", given="apiVersion: penstock.dev/v1alpha1\nkind: Sorce\nmetadata: {name: a}\n")
    assert told.exit_code == 1
    assert told.output == (
        'stdin:2: error: Sorce a: kind: "Sorce" is not a Penstock kind; did you mean Source?\n1 error: 1 checked\n'
    )


@pytest.mark.parametrize("given", ["", "---\n# nothing\n"])
def test_validate_is_not_content_with_nothing(given: str) -> None:
    """As when `kustomize build` has failed before the pipe."""
    told = _run("validate", "-f", "-", given=given)
    assert (told.exit_code, told.output) == (1, "Error: stdin: contains no object\n")


@pytest.mark.parametrize("written", ["foo(", "sum(id)", "nosuchfunc(id)", "select * from x; drop table y", "upper()"])
def test_validate_tells_of_an_expression_that_cannot_work(written: str) -> None:
    field = f'{{name: id, type: int, from: "{written}"}}'
    spec = f"{{destinationRef: {{name: lake}}, table: t, schema: {{fields: [{field}]}}}}"
    dataset = f"apiVersion: penstock.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: a}}\nspec: {spec}\n"
    told = _run("validate", "-f", "-", given=dataset)
    assert told.exit_code == 1
    assert "stdin:4: error: Dataset a: spec.schema.fields[0].from: field id: " in told.output


def test_validate_is_content_with_the_examples(examples: Path) -> None:
    for folder in sorted(path for path in examples.iterdir() if path.is_dir()):
        told = _run("validate", "--complete", "-f", str(folder))
        assert told.exit_code == 0, told.output
        assert told.output.startswith("OK: ")


def test_crds_are_printed_for_kubectl() -> None:
    told = _run("crds", "-o", "-")
    assert told.output.count("kind: CustomResourceDefinition\n") == 5


def test_crds_are_written_and_checked(tmp_path: Path) -> None:
    folders = ("-o", str(tmp_path / "crds"), "--docs", str(tmp_path / "docs"))
    assert _run("crds", "--check", *folders).exit_code == 1
    assert len(_run("crds", *folders).output.splitlines()) >= 7
    assert _run("crds", "--check", *folders).exit_code == 0


@pytest.fixture
def examples() -> Path:
    """The folder of the examples."""
    return Path(__file__).parents[3] / "examples"
