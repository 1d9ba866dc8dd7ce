"""Placeholders: parsed when a job is saved, rendered when it fires."""

import pytest

from tocsin.domain.placeholder import NAMES, JsonTemplate, Template

VALUES = {
    "fire_time": "2026-12-24T18:00:00Z",
    "fire_time_ms": "1798135200000",
    "execution_id": "019b5144-4500-8abc-8def-0123456789ab",
    "job_id": "019b5144-0000-7abc-8def-0123456789ab",
    "job_name": "nightly-report",
    "attempt": "2",
}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_stands_for_its_value(name: str) -> None:
    template = Template.parse(f"<{{{{ {name} }}}}>")
    assert template.render(VALUES) == f"<{VALUES[name]}>"
    assert not template.constant


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("plain } text {", "plain } text {"),
        ("{{attempt}}", "2"),
        ("{{   attempt\t}}", "2"),
        ("{{ attempt }}{{ attempt }}", "22"),
        ("a{{ attempt }}b{{ job_name }}c", "a2bnightly-reportc"),
        ("{{{{", "{{"),
        ("{{{{ attempt }}", "{{ attempt }}"),
        ("{{{{{{ attempt }}", "{{2"),
        ("{{{{{{{{", "{{{{"),
        ("}} {{{{ }}", "}} {{ }}"),
        ('{"a":{"b":{{ attempt }}}}', '{"a":{"b":2}}'),
    ],
)
def test_rendering(text: str, rendered: str) -> None:
    assert Template.parse(text).render(VALUES) == rendered


def test_text_without_placeholders_is_constant() -> None:
    assert Template.parse("https://example.com/").constant
    assert Template.parse("a {{{{ b").constant


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ fire_tme }}", "did you mean {{ fire_time }}?"),
        ("{{ ATTEMPT }}", "did you mean {{ attempt }}?"),
        ("{{ xyz }}", "known are fire_time, fire_time_ms, execution_id"),
        ("{{ secret.MY TOKEN }}", "not the name of a secret"),
        ("{{ secret. }}", "not the name of a secret"),
        ("{{ secret.1 }}", "not the name of a secret"),
        ("{{ secrets.TOKEN }}", "unknown placeholder {{ secrets.TOKEN }}"),
        ("{{ }}", "empty placeholder"),
        ("{{ attempt", "without its }}"),
        ("{{", "write {{{{ where a literal {{ is meant"),
        ("{{{ attempt }}}", "without its }}"),
    ],
)
def test_what_cannot_be_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="has ") as caught:
        Template.parse(text)
    assert hint in str(caught.value)


def test_a_long_unknown_name_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match="unknown") as caught:
        Template.parse("{{ " + "x" * 10_000 + " }}")
    assert len(str(caught.value)) < 300


class TestUrl:
    def test_values_are_percent_encoded(self) -> None:
        template = Template.parse_url("https://example.com/{{ job_name }}?at={{ fire_time }}&x=1")
        assert (
            template.render(VALUES)
            == "https://example.com/nightly-report?at=2026-12-24T18%3A00%3A00Z&x=1"
        )

    def test_a_value_cannot_add_a_segment_or_a_parameter(self) -> None:
        template = Template.parse_url("https://example.com/a/{{ job_name }}")
        rendered = template.render({"job_name": "../x?y=1&z#f"})
        assert rendered == "https://example.com/a/..%2Fx%3Fy%3D1%26z%23f"

    @pytest.mark.parametrize(
        "url",
        [
            "https://{{ job_name }}/",
            "https://example.com:{{ attempt }}/",
            "https://example.com{{ job_name }}/",
            "https://example.com{{ job_name }}",
            "{{ job_name }}://example.com/",
            "{{ job_name }}",
            "https:/{{ job_name }}/",
        ],
    )
    def test_where_the_call_goes_is_fixed(self, url: str) -> None:
        with pytest.raises(ValueError, match="before its path"):
            Template.parse_url(url)

    @pytest.mark.parametrize("url", ["https://h/{{ attempt }}", "https://h?{{ attempt }}"])
    def test_path_and_query_may_hold_them(self, url: str) -> None:
        assert Template.parse_url(url).render(VALUES).endswith("2")


class TestEncode:
    def test_values_pass_through_the_given_function(self) -> None:
        assert Template.parse("a {{ job_name }}").render(VALUES, str.upper) == "a NIGHTLY-REPORT"

    def test_a_missing_value_is_an_error(self) -> None:
        with pytest.raises(KeyError):
            Template.parse("{{ attempt }}").render({})


class TestJson:
    def test_strings_at_every_depth(self) -> None:
        template = JsonTemplate.parse(
            {"a": ["x", {"b": "{{ attempt }}"}], "{{ attempt }}": 1, "n": None, "t": True}
        )
        assert template.render(VALUES) == {
            "a": ["x", {"b": "2"}],
            "{{ attempt }}": 1,
            "n": None,
            "t": True,
        }

    def test_quotes_in_a_value_stay_inside_of_the_string(self) -> None:
        template = JsonTemplate.parse(["{{ job_name }}"])
        assert template.render({"job_name": '"],["'}) == ['"],["']

    def test_a_constant_value_is_not_copied(self) -> None:
        value = {"a": [1, 2, {"b": "c"}]}
        template = JsonTemplate.parse(value)
        assert template.constant
        assert template.render(VALUES) is template.render(VALUES)

    def test_escapes_are_written_out(self) -> None:
        template = JsonTemplate.parse({"a": "{{{{ x }}", "b": ["{{{{"]})
        assert template.constant
        assert template.render({}) == {"a": "{{ x }}", "b": ["{{"]}

    def test_unknown_names_are_refused(self) -> None:
        with pytest.raises(ValueError, match="did you mean"):
            JsonTemplate.parse({"a": [{"b": "{{ job_nme }}"}]})


def test_secrets_are_placeholders_of_their_own() -> None:
    template = Template.parse("{{ secret.TOKEN }} {{ attempt }} {{secret.a-B_9}}")
    assert template.secrets == ("TOKEN", "a-B_9")
    values = {"secret.TOKEN": "x", "secret.a-B_9": "y", "attempt": "1"}
    assert template.render(values) == "x 1 y"
    with pytest.raises(KeyError):
        template.render({"attempt": "1"})


def test_a_secret_of_a_url_is_encoded_and_cannot_be_its_host() -> None:
    template = Template.parse_url("https://x/?k={{ secret.K }}")
    assert template.render({"secret.K": "a&b=c/é"}) == "https://x/?k=a%26b%3Dc%2F%C3%A9"
    with pytest.raises(ValueError, match="before its path"):
        Template.parse_url("https://{{ secret.HOST }}/")
