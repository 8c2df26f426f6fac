"""Security headers of every answer, and trust in the headers of our own proxies."""

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A page of ours: its own style, images within it, no script and nothing from elsewhere.
_PAGE = f"{_NOTHING}; style-src 'unsafe-inline'; img-src data:; font-src data:"
# The readable page of the API begins with a script of its own and calls this service.
_DOCUMENTS = (
    f"{_NOTHING}; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'"
)
# Sent over TLS alone, which a proxy of ours may end: see TRUSTED_PROXIES.
_TLS = "max-age=31536000; includeSubDomains"


def add(app: Flask, trusted_proxies: int) -> None:
    """Adds the headers; the caller's address and scheme are those that so many proxies of our own name."""
    if trusted_proxies:
        proxied = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=trusted_proxies)
        app.wsgi_app = proxied  # type: ignore[method-assign]

    @app.after_request
    def protect(response: Response) -> Response:
        present = {name.lower() for name, _ in response.headers}
        ours = _ALWAYS | {"Content-Security-Policy": _policy(response)}
        if request.is_secure:
            ours["Strict-Transport-Security"] = _TLS
        for name, value in ours.items():
            if name.lower() not in present:
                response.headers.add(name, value)
        return response


def _policy(response: Response) -> str:
    if request.path.startswith("/docs/"):
        return _DOCUMENTS
    return _PAGE if response.mimetype == "text/html" else _NOTHING
