# For the scripts beside it: waits until containers, by their ids, say that they are healthy; at most three minutes.
wait_until_healthy() {
    for id in "$@"; do
        tries=0
        until [ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" = healthy ]; do
            tries=$((tries + 1))
            if [ "$tries" -gt 180 ]; then
                echo "$(docker inspect --format '{{.Name}}' "$id") does not become healthy: see its logs" >&2
                return 1
            fi
            sleep 1
        done
    done
}
