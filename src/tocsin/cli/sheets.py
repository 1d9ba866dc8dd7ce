"""One job or one execution in detail."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.text import Text

from tocsin.cli.output import (
    Sheet,
    console,
    exact,
    listing_of_attempts,
    outcome,
    schedule_words,
    state,
    target_words,
)
from tocsin.cli.times import in_zone, milliseconds, now_ms, read_zone, relative
from tocsin.domain.instant import Millis

_MAX_BODY = 2_000


def print_saved(what: str, job: Mapping[str, Any]) -> None:
    """What was done to a job, with when it fires next."""
    line = Text(f"{what} ", style="green").append(str(job.get("name")), style="bold")
    if sentence := job.get("schedule", {}).get("description"):
        line.append(f"  {sentence}", style="")
    out = console()
    out.print(line, soft_wrap=True)
    if next_fire := job.get("next_fire_at"):
        out.print(f"next fire {exact(next_fire, now_ms())}", soft_wrap=True)


def print_job(job: Mapping[str, Any]) -> None:
    """A job with all of its policies."""
    now = now_ms()
    out = console()
    title = Text(str(job.get("name")), style="bold").append("  ")
    out.print(title.append_text(state(str(job.get("status")))))
    if description := job.get("description"):
        out.print(description, markup=False)
    out.print()
    table = Sheet()
    schedule = job.get("schedule") or {}
    table.add("Schedule", schedule.get("description") or schedule_words(schedule))
    table.add("", Text(_schedule_facts(schedule), style="dim"))
    for line in _next_fire(job, now):
        table.add(*line)
    _add_target(table, job.get("target") or {})
    _add_policies(table, job)
    if tags := job.get("tags"):
        table.add("Tags", ", ".join(tags))
    if metadata := job.get("metadata"):
        table.add("Metadata", Text(json.dumps(metadata, ensure_ascii=False)))
    if last := job.get("last_execution"):
        when = last.get("finished_at") or last.get("fire_time")
        text = outcome(last, now)
        table.add(
            "Last",
            text.append(f"  {relative(when, now)}").append(f"  {last.get('id', '')}", style="dim"),
        )
    table.add("Id", str(job.get("id")))
    table.add("Version", f"{job.get('version')}, of {exact(job.get('updated_at'), now)}")
    table.add("Created", exact(job.get("created_at"), now))
    table.print()


def print_execution(execution: Mapping[str, Any]) -> None:
    """An execution with its attempts."""
    now = now_ms()
    out = console()
    out.print(
        Text(str(execution.get("job_name")), style="bold")
        .append("  ")
        .append_text(outcome(execution, now))
    )
    out.print()
    table = Sheet()
    table.add("Id", str(execution.get("id")))
    table.add("Job", str(execution.get("job_id")))
    table.add("Fire time", exact(execution.get("fire_time"), now))
    if execution.get("due") != execution.get("fire_time"):
        table.add("Due", exact(execution.get("due"), now))
    trigger = {"schedule": "its schedule", "manual": "a request", "retry": "a request to retry"}
    asked = str(execution.get("trigger"))
    table.add("Triggered by", trigger.get(asked, asked))
    if of := execution.get("retry_of"):
        table.add("Retry of", str(of))
    if reason := execution.get("reason"):
        table.add("Reason", str(reason))
    if until := execution.get("skipped_until"):
        count = execution.get("skipped_count")
        table.add("Stands for", f"{count} fire times up to {until}")
    if at := execution.get("started_at"):
        table.add("Started", f"{exact(at, now)}, {milliseconds(execution.get('lateness_ms'))} late")
    if at := execution.get("finished_at"):
        table.add("Ended", exact(at, now))
    if (took := execution.get("duration_ms")) is not None:
        table.add("Took", milliseconds(took))
    if error := execution.get("error"):
        table.add("Error", Text(str(error), style="red"))
    table.print()
    attempts = execution.get("attempts") or []
    if attempts:
        out.print()
        listing_of_attempts(attempts).print("")
        _print_answer(attempts[-1])


def _print_answer(attempt: Mapping[str, Any]) -> None:
    response = attempt.get("response") or {}
    excerpt = str(response.get("excerpt") or "")
    if not excerpt.strip():
        return
    out = console()
    more = " (its beginning)" if response.get("truncated") else ""
    out.print(f"\nThe last answer{more}:", style="bold")
    out.print(_safe(excerpt), soft_wrap=True)


def _safe(text: str) -> Text:
    """Text of others: without what could steer the terminal."""
    return Text(
        "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    )


def _schedule_facts(schedule: Mapping[str, Any]) -> str:
    facts = [schedule_words(schedule)]
    for name, word in (("anchor", "from"), ("starts_at", "starts"), ("ends_at", "ends")):
        if value := schedule.get(name):
            facts.append(f"{word} {value}")
    if schedule.get("jitter") not in (None, "0s"):
        facts.append(f"jitter {schedule['jitter']}")
    return ", ".join(facts)


def _next_fire(job: Mapping[str, Any], now: Millis) -> list[tuple[str, str | Text]]:
    at = job.get("next_fire_at")
    if at is None:
        return [("Next fire", Text("none", style="dim"))]
    lines: list[tuple[str, str | Text]] = [("Next fire", exact(at, now))]
    zone = (job.get("schedule") or {}).get("timezone")
    if zone and zone != "UTC":
        with suppress(ValueError):  # a zone that this machine does not know
            lines.append(("", Text(in_zone(at, read_zone(zone)), style="dim")))
    return lines


def _add_target(table: Sheet, target: Mapping[str, Any]) -> None:
    table.add("Target", Text(target_words(target)))
    for name, value in (target.get("headers") or {}).items():
        table.add("", Text(f"{name}: {value}"))
    if auth := target.get("auth"):
        held = auth.get("token") or f"{auth.get('username')} / {auth.get('password')}"
        table.add("Auth", Text(f"{auth.get('type')}: {held}"))
    if signing := target.get("signing"):
        table.add("Signed with", Text(f"the secret {signing.get('secret')}"))
    for field in ("body", "body_text", "body_base64"):
        if (body := target.get(field)) is not None:
            text = (
                body
                if isinstance(body, str) and field != "body"
                else json.dumps(body, ensure_ascii=False)
            )
            if len(text) > _MAX_BODY:
                text = f"{text[:_MAX_BODY]}… ({len(text)} characters; --json shows all)"
            table.add("Body", _safe(text))
    if timeout := target.get("timeout"):
        redirects = target.get("redirects") or 0
        follow = f"up to {redirects} redirects" if redirects else "no redirects"
        table.add("Timeout", f"{timeout} per attempt, {follow}")


def _add_policies(table: Sheet, job: Mapping[str, Any]) -> None:
    retry = job.get("retry") or {}
    if attempts := retry.get("max_attempts"):
        text = f"up to {attempts} attempts"
        if attempts > 1:
            text = (
                f"{text}, waiting {retry.get('initial')}, ×{retry.get('factor'):g} up to "  # noqa: RUF001
                f"{retry.get('max')}, ±{100 * (retry.get('jitter') or 0):g} %"
            )
            table.add("Retry", text)
            table.add("", Text(f"on {', '.join(retry.get('on') or ())}", style="dim"))
        else:
            table.add("Retry", "never")
    misfire = job.get("misfire") or {}
    if policy := misfire.get("policy"):
        text = f"{policy}, at most {misfire.get('max')}" if policy == "all" else str(policy)
        if grace := misfire.get("grace"):
            text += f", grace {grace}"
        table.add("Misfire", text)
    table.add("Overlap", str(job.get("overlap")))
    table.add("Delivery", str(job.get("delivery")).replace("_", " "))
    table.add("Success", ", ".join(job.get("success") or ()))
