#!/bin/bash
# Prepares an empty data directory the first time, then becomes the server.
#
# Read from the environment: POSTGRES_USER (postgres), POSTGRES_PASSWORD, POSTGRES_DB (the user's name),
# POSTGRES_INITDB_ARGS, POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA; the first four also from
# a file, as NAME_FILE. Scripts in /docker-entrypoint-initdb.d run once, in the order of their names.
set -euo pipefail

die() {
    echo "docker-entrypoint: $*" >&2
    exit 1
}

# NAME or the content of the file that NAME_FILE names, else the default; exported under NAME.
from_environment() {
    local name=$1 file_name=${1}_FILE value
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        die "$name and $file_name are both set; which one counts?"
    elif [[ -n ${!file_name:-} ]]; then
        value=$(<"${!file_name}")
    else
        value=${!name:-${2:-}}
    fi
    export "$name=$value"
    unset "$file_name"
}

prepare_folders() {
    local folder
    for folder in "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}; do
        mkdir -p "$folder"
        [[ $(id -u) != 0 ]] || find "$folder" \! -user postgres -exec chown postgres:postgres '{}' +
        chmod 0700 "$folder" 2>/dev/null || true
    done
    if [[ $(id -u) == 0 ]]; then
        mkdir -p /var/run/postgresql
        chown postgres:postgres /var/run/postgresql
    fi
}

check_password() {
    [[ -n $POSTGRES_PASSWORD || ${POSTGRES_HOST_AUTH_METHOD:-} == trust ]] && return
    die "POSTGRES_PASSWORD is empty. Set it, or set POSTGRES_HOST_AUTH_METHOD=trust to let everybody in."
}

create_cluster() {
    set -- --username="$POSTGRES_USER" ${POSTGRES_INITDB_WALDIR:+--waldir="$POSTGRES_INITDB_WALDIR"}
    # shellcheck disable=SC2016 # POSTGRES_INITDB_ARGS is a piece of a command line, quotes and all
    if [[ -n $POSTGRES_PASSWORD ]]; then
        # Through a pipe, the password stands in no file and in no process list.
        eval 'initdb "$@" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' "$POSTGRES_INITDB_ARGS"
    else
        eval 'initdb "$@"' "$POSTGRES_INITDB_ARGS"
    fi

    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# The single-user mode needs no server to be started and stopped.
create_database() {
    [[ $POSTGRES_DB != postgres ]] || return 0
    local quoted=\"${POSTGRES_DB//\"/\"\"}\"
    local answer
    answer=$(echo "CREATE DATABASE $quoted" | postgres --single -j -c log_min_messages=error postgres 2>&1) ||
        die "the database $POSTGRES_DB could not be made: $answer"
    [[ $answer != *ERROR:* ]] || die "the database $POSTGRES_DB could not be made: $answer"
}

sql() { PGPASSWORD=$POSTGRES_PASSWORD psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"; }

run_script() {
    local script=$1
    echo "docker-entrypoint: running $script"
    case $script in
        *.sh)
            if [[ -x $script ]]; then
                "$script"
            else
                # shellcheck disable=SC1090
                . "$script"
            fi
            ;;
        *.sql) sql -f "$script" ;;
        *.sql.gz) gunzip -c "$script" | sql ;;
        *.sql.xz) xz -dc "$script" | sql ;;
        *.sql.zst) zstd -dc "$script" | sql ;;
        *) echo "docker-entrypoint: passing over $script" ;;
    esac
}

# While the scripts run, the server listens on its unix socket only: nobody outside sees it half prepared.
run_scripts() {
    local scripts=(/docker-entrypoint-initdb.d/*)
    [[ -e ${scripts[0]} ]] || return 0
    local options=("$@" -c listen_addresses= -p "${PGPORT:-5432}")
    pg_ctl -D "$PGDATA" -w -s -o "$(printf '%q ' "${options[@]}")" start
    local script
    for script in "${scripts[@]}"; do run_script "$script"; done
    pg_ctl -D "$PGDATA" -w -s -m fast stop
}

wants_information_only() {
    local argument
    for argument; do
        case $argument in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
if [[ ${1:-} != postgres ]] || wants_information_only "$@"; then
    exec "$@"
fi

prepare_folders
if [[ $(id -u) == 0 ]]; then
    exec setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all "${BASH_SOURCE[0]}" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    from_environment POSTGRES_PASSWORD
    from_environment POSTGRES_USER postgres
    from_environment POSTGRES_DB "$POSTGRES_USER"
    from_environment POSTGRES_INITDB_ARGS
    check_password
    create_cluster
    create_database
    run_scripts "${@:2}"
fi
exec "$@"
