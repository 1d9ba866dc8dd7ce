"""TLS of the API: a certificate that is read again when its files change."""

import asyncio
import os
import ssl
from collections.abc import Sequence

import structlog

from tocsin.domain.errors import InvalidInput

log = structlog.stdlib.get_logger("tocsin.api")

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""


class ServerTls:
    """The TLS context of a server; connections that are open keep the certificate they have."""

    def __init__(self, certificate: str, key: str) -> None:
        """``certificate`` holds the chain, ``key`` its private key, both PEM.

        Raises ``InvalidInput`` where they cannot be used.
        """
        self._files = (certificate, key)
        try:
            self.context = self._fresh()
        except (OSError, ValueError) as error:
            raise InvalidInput.of("tls_cert", _why(error, self._files), "unusable") from error
        self._seen = self._marks()

    async def run(self) -> None:
        """Look at the files again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.reload_if_changed()

    def reload_if_changed(self) -> bool:
        """Take a new certificate for new connections; whether there was one.

        One that cannot be used (not complete yet, say) is logged, and looked at again when the
        files change once more.
        """
        marks = self._marks()
        if marks == self._seen:
            return False
        self._seen = marks
        try:
            # Both files may be about to change: a pair that does not fit must not get in.
            self._fresh()
            self.context.load_cert_chain(*self._files)
        except (OSError, ValueError) as error:
            log.error(  # noqa: TRY400  # said, not a bug
                "tls.not_reloaded",
                error=_why(error, self._files),
                remedy="the certificate before is used on",
            )
            return False
        log.info("tls.reloaded", certificate=self._files[0])
        return True

    def _fresh(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A key with a passphrase must not make it ask the terminal.
        context.load_cert_chain(*self._files, password=lambda: b"")
        return context

    def _marks(self) -> Sequence[tuple[int, int, int] | None]:
        marks: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                found = os.stat(file)  # noqa: PTH116  # follows links, as certificate managers use
            except OSError:
                marks.append(None)
            else:
                marks.append((found.st_mtime_ns, found.st_ino, found.st_size))
        return marks


def _why(error: Exception, files: tuple[str, str]) -> str:
    names = " and ".join(files)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        return f"{names} cannot be used: {reason or 'not a certificate with its key, as PEM'}"
    if isinstance(error, OSError):
        return f"cannot read {error.filename or names}: {(error.strerror or str(error)).lower()}"
    return f"{names} cannot be used: {error}"
