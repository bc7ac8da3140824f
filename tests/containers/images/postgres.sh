#!/bin/sh
# What the official image does with its variables the first time, and then PostgreSQL.
set -eu
data=/var/lib/postgresql/18/docker
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups"
if [ ! -s "$data/PG_VERSION" ]; then
    install -d -o postgres -g postgres /var/lib/postgresql "$data"
    chmod 0700 "$data"
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    chown postgres /tmp/password
    $as_postgres initdb -D "$data" -U "$POSTGRES_USER" --auth=scram-sha-256 --pwfile=/tmp/password \
        --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB;" | $as_postgres postgres --single -D "$data" postgres >/dev/null
fi
exec $as_postgres postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
