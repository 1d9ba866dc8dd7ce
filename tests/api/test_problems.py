"""Errors around the resources themselves: bodies, methods, paths, parameters, accidents."""

from collections.abc import AsyncIterator

import pytest

from tests.api.harness import EXECUTIONS, JOB, JOBS, Api, serving
from tests.support.memory_store import MemoryStore
from tocsin.api.context import BodyLimits
from tocsin.domain.errors import StoreCorrupt, StoreFull, StoreUnavailable


async def test_a_problem_has_the_fields_of_the_standard(api: Api) -> None:
    answer = await api.ask("GET", f"{JOBS}/nope", status=404)
    assert answer.json() == {
        "type": "urn:tocsin:problem:not_found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "there is no job 'nope', by id or by name",
        "code": "not_found",
        "errors": [],
    }


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "where"),
        [
            (b"", "line 1 column 1"),
            (b'{"schedule": \n  tru}', "line 2 column 3"),
            (b"[1,]", "line 1 column 3"),
            (b'{"a": NaN}', "line 1 column 7"),
            (b"\xff", "line 1 column 1"),
            (b'"\\ud800"', "line 1"),
            (b"[" * 100_000, "line 1"),
        ],
    )
    async def test_what_is_not_json(self, api: Api, body: bytes, where: str) -> None:
        sent = {"content": body, "headers": {"content-type": "application/json"}}
        answer = await api.ask("POST", JOBS, status=400, **sent)
        assert answer.json()["code"] == "invalid_json"
        assert where in answer.json()["detail"]

    @pytest.mark.parametrize("body", [b"1", b"null", b"[]", b'"x"', b"true"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    async def test_json_that_is_no_object(self, api: Api, method: str, body: bytes) -> None:
        await api.create(name="report")
        path = JOBS if method == "POST" else f"{JOBS}/report"
        problems = await api.problems(method, path, content=body)
        assert problems == [("", "type")]

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
    )
    async def test_another_kind_of_body(self, api: Api, kind: str) -> None:
        sent = {"content": b"{}", "headers": {"content-type": kind}}
        answer = await api.ask("POST", JOBS, status=415, **sent)
        assert "application/json" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "kind",
        ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"],
    )
    async def test_kinds_of_json(self, api: Api, kind: str) -> None:
        job = await api.create(name="report")
        sent = {"content": b"{}", "headers": {"content-type": kind}}
        answer = await api.ask("PATCH", f"{JOBS}/report", **sent)
        assert answer.json() == job

    async def test_compressed_bodies_are_not_taken(self, api: Api) -> None:
        sent = {"content": b"x", "headers": {"content-encoding": "gzip"}}
        await api.ask("POST", JOBS, status=415, **sent)

    async def test_the_size_is_bounded(self) -> None:
        async with serving(MemoryStore(), body_limits=BodyLimits(body=1_000, batch=2_000)) as api:
            answer = await api.ask("POST", JOBS, status=413, content=b" " * 1_001)
            assert answer.headers["connection"] == "close"
            assert answer.json()["code"] == "payload_too_large"
            await api.ask("POST", JOBS, status=400, content=b" " * 1_000)
            await api.ask("POST", f"{JOBS}:batch", status=413, content=b" " * 2_001)
            await api.ask("POST", f"{JOBS}:batch", status=400, content=b" " * 2_000)

    async def test_the_size_is_bounded_while_it_comes_in(self) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b" " * 100

        async with serving(MemoryStore(), body_limits=BodyLimits(body=1_000)) as api:
            await api.ask("POST", JOBS, status=413, content=endless())
        assert sent == 11

    async def test_keys_with_nul_are_refused(self, api: Api) -> None:
        body = b'{"metadata": {"a\\u0000b": 1}, "schedule": {}, "target": {"log": "x"}}'
        assert await api.problems("POST", JOBS, content=body) == [("metadata", "invalid")]

    async def test_an_escaped_backslash_is_not_nul(self, api: Api) -> None:
        job = await api.create(description="a\\u0000b")
        assert job["description"] == "a\\u0000b"


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["/nothing", "/api", "/api/v1", "/api/v1/job", "/api/v1/jobs/", "/api/v2/jobs", "/x%00"],
    )
    async def test_there_is_nothing(self, api: Api, path: str) -> None:
        answer = await api.ask("GET", path, status=404)
        assert answer.json()["code"] == "not_found"

    @pytest.mark.parametrize(
        "ref", ["nope", "NOPE", "019b5144-0000-7abc-8def-0123456789ab", "%00", "x%0Ay", "é", "*"]
    )
    async def test_no_such_job_or_execution(self, api: Api, ref: str) -> None:
        await api.ask("GET", f"{JOBS}/{ref}", status=404)
        await api.ask("DELETE", f"{JOBS}/{ref}", status=404)
        await api.ask("GET", f"{EXECUTIONS}/{ref}", status=404)

    async def test_a_reference_is_bounded(self, api: Api) -> None:
        assert await api.problems("GET", f"{JOBS}/{'x' * 101}") == [("ref", "too_long")]

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", JOBS, "GET, POST"),
            ("DELETE", JOBS, "GET, POST"),
            ("POST", f"{JOBS}/x", "DELETE, GET, PATCH, PUT"),
            ("GET", f"{JOBS}/x/pause", "POST"),
            ("GET", f"{JOBS}:batch", "POST"),
            ("POST", "/healthz", "GET"),
            ("OPTIONS", JOBS, "GET, POST"),
            ("BREW", JOBS, "GET, POST"),
        ],
    )
    async def test_methods(self, api: Api, method: str, path: str, allowed: str) -> None:
        answer = await api.ask(method, path, status=405)
        assert answer.headers["allow"] == allowed
        assert answer.json()["code"] == "method_not_allowed"
        assert answer.json()["detail"].endswith(f"what is: {allowed}")


class TestParameters:
    @pytest.mark.parametrize(
        ("path", "field", "code"),
        [
            (f"{JOBS}?limt=1", "limt", "unknown_parameter"),
            (f"{JOBS}?limit=0", "limit", "out_of_range"),
            (f"{JOBS}?limit=1001", "limit", "out_of_range"),
            (f"{JOBS}?limit=x", "limit", "type"),
            (f"{JOBS}?status=gone", "status.0", "not_one_of"),
            (f"{JOBS}?sort=age", "sort", "not_one_of"),
            (f"{JOBS}?kind=once", "kind", "not_one_of"),
            (f"{JOBS}?last_result=skipped", "last_result", "not_one_of"),
            (f"{JOBS}?text=", "text", "too_short"),
            (f"{JOBS}?text=%00", "text", "pattern"),
            (f"{JOBS}?tag=a%00b", "tag.0", "pattern"),
            (f"{JOBS}?text={'x' * 201}", "text", "too_long"),
            (f"{JOBS}?cursor=x", "cursor", "bad_cursor"),
            (f"{JOBS}?cursor={'x' * 2_000}", "cursor", "too_long"),
            (f"{EXECUTIONS}?since=yesterday", "since", "invalid"),
            (f"{EXECUTIONS}?until=2026-01-01", "until", "invalid"),
            (f"{EXECUTIONS}?state=done", "state.0", "not_one_of"),
            (f"{EXECUTIONS}?error_kind=oops", "error_kind", "not_one_of"),
            (f"{EXECUTIONS}?cursor=e30", "cursor", "bad_cursor"),
            ("/api/v1/stats?window=1s", "window", "out_of_range"),
            ("/api/v1/stats?window=8d", "window", "out_of_range"),
            ("/api/v1/stats?window=x", "window", "invalid"),
            ("/api/v1/events?types=jobs", "types", "not_one_of"),
            ("/healthz?verbose", "verbose", "unknown_parameter"),
            ("/metrics?name[]=x", "name[]", "unknown_parameter"),
        ],
    )
    async def test_refused(self, api: Api, path: str, field: str, code: str) -> None:
        assert await api.problems("GET", path) == [(field, code)]

    async def test_the_nearest_name_is_told(self, api: Api) -> None:
        answer = await api.ask("GET", f"{JOBS}?stauts=active&x=1", status=422)
        messages = [one["message"] for one in answer.json()["errors"]]
        assert messages[0] == "is not a query parameter; did you mean status?"
        assert "known are status, tag, text, kind" in messages[1]

    async def test_where_none_is_known(self, api: Api) -> None:
        problems = await api.problems("POST", f"{JOBS}?dry_run=1", json=JOB)
        assert problems == [("dry_run", "unknown_parameter")]


class TestAccidents:
    @staticmethod
    def failing(error: Exception) -> MemoryStore:
        async def fail(_: str) -> None:
            raise error

        return MemoryStore(before=fail)

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (StoreUnavailable("secret: locked by 4711"), 503, "store_unavailable"),
            (StoreFull("the disk is full; make room"), 507, "store_full"),
            (StoreCorrupt("secret: /var/x is broken"), 500, "store_corrupt"),
            (RuntimeError("secret: internals"), 500, "internal_error"),
        ],
    )
    async def test_of_the_store(self, error: Exception, status: int, code: str) -> None:
        async with serving(self.failing(error)) as api:
            answer = await api.ask("POST", JOBS, status=status, json=JOB)
        assert answer.json()["code"] == code
        assert "secret" not in answer.text
        assert ("retry-after" in answer.headers) == (status == 503)

    async def test_a_full_disk_is_counted(self) -> None:
        async with serving(self.failing(StoreFull("full"))) as api:
            await api.ask("POST", JOBS, status=507, json=JOB)
            assert b'rejections_total{limit="disk"} 1.0' in api.context.metrics.render()


class TestRequestIds:
    async def test_each_request_has_one(self, api: Api) -> None:
        one = (await api.ask("GET", JOBS)).headers["x-request-id"]
        other = (await api.ask("GET", f"{JOBS}/x", status=404)).headers["x-request-id"]
        assert one != other

    @pytest.mark.parametrize(
        ("given", "kept"), [("abc-1", True), ("a b", False), ("x" * 101, False)]
    )
    async def test_that_of_the_client_is_kept(self, api: Api, given: str, kept: bool) -> None:
        answer = await api.ask("GET", JOBS, headers={"X-Request-Id": given})
        assert (answer.headers["x-request-id"] == given) is kept
