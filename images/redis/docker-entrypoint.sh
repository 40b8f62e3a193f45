#!/bin/sh
# Becomes redis-server, as the user redis.
set -eu

case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ]; then
    # Redis would refuse everybody outside of the container as long as no password is set.
    decided=
    for argument in "$@"; do
        case $argument in
            --protected-mode) decided=yes ;;
            *.conf) ! grep -q '^[[:space:]]*protected-mode' "$argument" 2>/dev/null || decided=yes ;;
        esac
    done
    [ -n "$decided" ] || set -- "$@" --protected-mode no
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --clear-groups --inh-caps=-all "$@"
    fi
fi
exec "$@"
