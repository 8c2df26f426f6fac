# One image for every role: the command picks it (`serve issuer`, `worker redeemer`, `beat`, `migrate` …).
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/souche
WORKDIR /src
COPY requirements.lock ./
RUN /opt/souche/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY services services
COPY shared shared
COPY souche souche
COPY demo demo
RUN /opt/souche/bin/pip install --no-deps --no-build-isolation . \
    && /opt/souche/bin/python -m compileall -q /opt/souche/lib

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin souche
COPY --from=build /opt/souche /opt/souche
ENV PATH=/opt/souche/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER souche
WORKDIR /tmp
ENTRYPOINT ["souche"]
CMD ["--help"]
