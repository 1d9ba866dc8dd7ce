"""Files of job definitions."""

import io
import json
from pathlib import Path

import pytest

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.job_files import read_jobs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.yaml"


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(CommandFailed) as caught:
        read_jobs(str(path))
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value.message


A = "name: a\nschedule: {every: 15m}\ntarget: {log: hi}\n"
B = A.replace("name: a", "name: b")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a", "schedule": {"every": "15m"}, "target": {"log": "hi"}}\n'
        '{"name": "b", "schedule": {"every": "15m"}, "target": {"log": "hi"}}\n',
        f"{A}---\n{B}",
        f"---\n{A}---\n{B}---\n",
        "- {name: a, schedule: {every: 15m}, target: {log: hi}}\n"
        "- {name: b, schedule: {every: 15m}, target: {log: hi}}\n",
        'jobs: [{"name": "a", "schedule": {"every": "15m"}, "target": {"log": "hi"}},'
        ' {"name": "b", "schedule": {"every": "15m"}, "target": {"log": "hi"}}]',
        '[{"name": "a", "schedule": {"every": "15m"}, "target": {"log": "hi"}},'
        ' {"name": "b", "schedule": {"every": "15m"}, "target": {"log": "hi"}}]',
        '{"jobs": [{"name": "a", "schedule": {"every": "15m"}, "target": {"log": "hi"}},'
        ' {"name": "b", "schedule": {"every": "15m"}, "target": {"log": "hi"}}]}',
    ],
)
def test_several_jobs_in_every_form(path: Path, text: str) -> None:
    path.write_text(text)
    assert read_jobs(str(path)) == [
        {"name": name, "schedule": {"every": "15m"}, "target": {"log": "hi"}} for name in "ab"
    ]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(A))
    assert [job["name"] for job in read_jobs("-")] == ["a"]


def test_yaml_means_what_people_mean_by_it(path: Path) -> None:
    path.write_text(
        "name: a\n"
        "schedule: {at: 2026-12-24T18:00:00Z, starts_at: 2026-12-24}\n"
        "retry: {on: [5xx, timeout], factor: 1.5, max_attempts: 3}\n"
        "tags: [yes, no, off, 12:30:00, 1_000, 0o17, 0x1F, 017, 1e3, true, ~, -7]\n"
    )
    [job] = read_jobs(str(path))
    assert job["schedule"] == {"at": "2026-12-24T18:00:00Z", "starts_at": "2026-12-24"}
    assert job["retry"] == {"on": ["5xx", "timeout"], "factor": 1.5, "max_attempts": 3}
    assert job["tags"] == [
        "yes", "no", "off", "12:30:00", "1_000", 15, 31, 17, 1000.0, True, None, -7,
    ]  # fmt: skip


def test_anchors_and_merges_work(path: Path) -> None:
    path.write_text(
        "- &base {name: a, schedule: {every: 1m}, target: {log: hi}}\n- {<<: *base, name: b}\n"
    )
    assert [job["target"] for job in read_jobs(str(path))] == [{"log": "hi"}, {"log": "hi"}]


def test_what_was_shown_can_be_applied_again(path: Path) -> None:
    path.write_text(
        json.dumps(
            {
                "id": "x",
                "name": "a",
                "schedule": {"every": "1m"},
                "status": "active",
                "version": 3,
                "created_at": "…",
                "updated_at": "…",
                "next_fire_at": None,
                "last_execution": None,
            }
        )
    )
    assert read_jobs(str(path)) == [{"name": "a", "schedule": {"every": "1m"}}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "line 2, column 1: 'name' is given twice"),
        ('{"name": "a", "name": "b"}', "'name' is given twice"),
        ("a: [", "line 2, column 1"),
        ("", "there are no jobs in"),
        ("[]", "there are no jobs in"),
        ("jobs: 3", "`jobs` of"),
        ("- 3", "job 1 of"),
        ("- {name: a}\n- {schedule: {every: 1m}}", "job 2 of"),
        ("name: 3", "has no name"),
        ("- {name: a}\n- {name: a}", "has two jobs named a"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("name: a\nmetadata: &x [*x]", "cannot be sent as JSON"),
        ("name: a\nmetadata: {x: .nan}", "cannot be sent as JSON"),
        ("{" * 5_000, "did not find"),
    ],
)
def test_an_unusable_file_is_refused_with_the_place(path: Path, text: str, message: str) -> None:
    assert message in refused(path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        read_jobs(str(tmp_path / "missing.yaml"))
    (tmp_path / "latin").write_bytes(b"name: caf\xe9")
    with pytest.raises(CommandFailed, match="not UTF-8"):
        read_jobs(str(tmp_path / "latin"))
    with pytest.raises(CommandFailed, match="Is a directory"):
        read_jobs(str(tmp_path))
