"""The floor: a Flask application that reads a request's body and does nothing."""

from flask import Flask, request
from flask.typing import ResponseReturnValue


def create_app() -> Flask:
    """One route, for whatever is posted."""
    app = Flask("bare")

    @app.post("/<path:where>")
    def read(where: str) -> ResponseReturnValue:
        request.get_data()
        return {"status": "accepted"}, 201

    return app
