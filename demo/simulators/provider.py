"""An OpenID Connect provider as ProConnect is one: discovery, published keys, signed statements about people.

There is no page to log in on: whoever runs it says who has logged in. For tests, and to try the exchange of tokens on a
laptop: `python -m demo.simulators.provider` serves one and prints a token.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import click
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

CLIENT_ID = "souche"
IDENTITY_PROVIDER = "71144ab3-ee1a-4401-b7b3-79b44f7daeeb"


@dataclass
class Key:
    """A key that the provider signs with."""

    private: Any
    algorithm: str
    key_id: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def rsa(cls, bits: int = 2048) -> "Key":
        """An RSA key, for RS256."""
        return cls(rsa.generate_private_key(65537, bits), "RS256")

    @classmethod
    def elliptic(cls) -> "Key":
        """A key on P-256, for ES256."""
        return cls(ec.generate_private_key(ec.SECP256R1()), "ES256")

    @property
    def public(self) -> dict[str, Any]:
        """As it is published (RFC 7517)."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        described: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return described | {"kid": self.key_id, "alg": self.algorithm, "use": "sig"}


@dataclass
class LocalProvider:
    """The provider: its address, its keys (the first signs), and how often they were requested."""

    address: str = ""
    keys: list[Key] = field(default_factory=lambda: [Key.elliptic()])
    key_requests: int = 0

    def token(self, subject: str, siret: str | None = None, **claims: Any) -> str:
        """What it signs about somebody who has just logged in; further claims replace these."""
        now = time.time()
        found = {
            "iss": self.address,
            "aud": CLIENT_ID,
            "sub": subject,
            "idp_id": IDENTITY_PROVIDER,
            "siret": siret,
            "email": f"{subject}@agen.fr",
            "given_name": "Aliénor",
            "usual_name": "Dupont",
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        key = self.keys[0]
        present = {name: value for name, value in found.items() if value is not None}
        # As bytes: whoever tests what is refused wants to sign what no library would.
        said_so = json.dumps(present).encode()
        return jwt.PyJWS().encode(said_so, key.private, algorithm=key.algorithm, headers={"kid": key.key_id})

    @property
    def app(self) -> Flask:
        """Its web server."""
        app = Flask("provider")

        @app.get("/.well-known/openid-configuration")
        def discover() -> ResponseReturnValue:
            return jsonify(issuer=self.address, jwks_uri=f"{self.address}/jwks")

        @app.get("/jwks")
        def publish() -> ResponseReturnValue:
            self.key_requests += 1
            return jsonify(keys=[key.public for key in self.keys])

        return app


@contextmanager
def provider(port: int = 0) -> Iterator[LocalProvider]:
    """Serves a provider on this machine for as long as it is needed."""
    local = LocalProvider()
    server = make_server("127.0.0.1", port, local.app, threaded=True)
    local.address = f"http://127.0.0.1:{server.port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@click.command()
@click.option("--port", type=int, default=8010, show_default=True)
@click.option("--subject", default="alienor", show_default=True, help="Who has logged in.")
@click.option("--siret", help="The establishment that they work for.")
def main(port: int, subject: str, siret: str | None) -> None:
    """Serve a provider and print a token of it, until Ctrl-C."""
    with provider(port) as local:
        token = local.token(subject, siret, exp=time.time() + 3600)
        click.echo(f"OIDC_ISSUER={local.address}\nOIDC_CLIENT_IDS={CLIENT_ID}\n{token}")
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
