"""``tocsin migrate``."""

from typing import Annotated

import typer

from tocsin.cli.failure import CommandFailed, ExitCode


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail where a migration is due.")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="TOCSIN_DATABASE",
            metavar="URL",
            help="The database, as for 'tocsin serve'.",
            show_default="sqlite:///tocsin.db",
        ),
    ] = None,
) -> None:
    """Bring the tables of a database to the version of this program."""
    from tocsin.cli.effective import effective_settings, refused_settings
    from tocsin.domain.errors import InvalidInput, TocsinError

    settings = effective_settings({} if database is None else {"database": database})

    from tocsin.app import check_migrations, migrate

    try:
        if check:
            check_migrations(settings)
        else:
            migrate(settings)
    except InvalidInput as error:
        raise refused_settings(error) from None
    except TocsinError as error:
        raise CommandFailed(str(error), exit_code=ExitCode.FAILED) from error
    print("the database is up to date")
