"""``tocsin config``."""

from typing import Annotated

import typer

from tocsin.cli.parameters import AsJson

app = typer.Typer(
    help="Look at the settings of a node.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _config() -> None:
    """Keep `config show` a command of a group although it is the only one."""


@app.command()
def show(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that are not at their default.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the settings that 'tocsin serve' would run with here, and where each comes from."""
    from rich.text import Text

    from tocsin.cli.catalogue import by_group, settings_catalogue, shown_value
    from tocsin.cli.effective import effective_settings, source_of, unknown_variables
    from tocsin.cli.output import Listing, note, print_json_lines

    settings = effective_settings({})
    known = [
        setting
        for setting in settings_catalogue()
        if not changed or source_of(setting) != "default"
    ]
    values = {s.name: shown_value(s, getattr(settings, s.name)) for s in known}
    if as_json:
        print_json_lines(
            {"name": s.name, "value": values[s.name], "source": source_of(s)} for s in known
        )
    elif not known:
        note("every setting is at its default")
    else:
        table = Listing("SETTING", "VALUE", "SOURCE", flexible=("VALUE",))
        for group, members in by_group(known):
            table.add("", "", "")
            table.add(Text(group, style="bold cyan"), "", "")
            for setting in members:
                source = source_of(setting)
                style = "dim" if source == "default" else "yellow"
                table.add(setting.name, values[setting.name], Text(source, style=style))
        table.print("")
    for sentence in unknown_variables():
        note(f"Warning: {sentence}")
