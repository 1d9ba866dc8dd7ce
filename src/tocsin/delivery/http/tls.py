"""TLS towards targets: whom to trust, resuming sessions, and errors in words."""

import ssl
from collections import OrderedDict
from typing import Any

_MAX_SESSIONS = 1024

_EXPIRED, _NOT_YET, _SELF_SIGNED, _SELF_SIGNED_ROOT, _UNKNOWN_ISSUER = 10, 9, 18, 19, 20
_REMEDIES = {
    _EXPIRED: "renew it",
    _NOT_YET: "check the clocks",
    _SELF_SIGNED: "add it to the system's trust store, or use one from a known authority",
    _SELF_SIGNED_ROOT: "add its authority to the system's trust store",
    _UNKNOWN_ISSUER: "add its authority to the system's trust store, or serve the whole chain",
}

_ALERTS = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no cipher in common, or it demands a client certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a client certificate, and there is none",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks neither TLS 1.2 nor 1.3",
    "UNSUPPORTED_PROTOCOL": "it speaks neither TLS 1.2 nor 1.3",
}


class ResumingContext(ssl.SSLContext):
    """A client's TLS context that offers the last session of a host when it is called again.

    asyncio has no way to pass a session, but it asks the context for the TLS layer; so the session
    is slipped in there.  A resumed handshake skips the certificate, which was verified (for this
    very host and with this very context) when the session was made.
    """

    _sessions: OrderedDict[str, ssl.SSLSession]

    def __new__(cls) -> "ResumingContext":
        """Verify certificates and host names; trust nobody yet."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context._sessions = OrderedDict()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context

    def __init__(self) -> None:
        pass  # all is done: the base class takes its argument in __new__

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a handshake, resuming what is known of the host."""
        if session is None and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, tls: ssl.SSLObject) -> None:
        """Keep the session of a connection that has brought an answer.

        Not earlier: with TLS 1.3 the server sends it after the handshake.  A resumed one is good
        for the next time too; to read a session takes 0.3 ms.
        """
        host = tls.server_hostname
        if host is None or tls.session_reused:
            return
        session = tls.session
        if session is None or not session.has_ticket:
            return
        self._sessions[host] = session
        self._sessions.move_to_end(host)
        if len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)

    def forget(self, host: str) -> None:
        """Start from nothing next time, as after a handshake that failed."""
        self._sessions.pop(host, None)


def system_context() -> ResumingContext:
    """Return a context that trusts the system's store (``SSL_CERT_FILE``, ``SSL_CERT_DIR``)."""
    context = ResumingContext()
    context.load_default_certs()
    return context


def explain(error: ssl.SSLError, place: str) -> str:
    """Say in a sentence why TLS with ``place`` (host and port) failed, and what would help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {place} is not accepted: {error.verify_message.rstrip('.')}"
        remedy = _REMEDIES.get(error.verify_code)
        return f"{what}; {remedy}" if remedy else what
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}:
        return f"{place} does not speak TLS; call it with http://, or at its TLS port"
    return f"the TLS handshake with {place} failed: {broken(error)}"


def broken(error: ssl.SSLError) -> str:
    """Say in words what OpenSSL or the peer complained of."""
    reason: Any = error.reason
    words = str(reason or type(error).__name__).lower().replace("_", " ")
    meaning = _ALERTS.get(reason)
    return f"{words}; {meaning}" if meaning else words
