# shellcheck shell=bash disable=SC2154 # variables are shared with the other parts
# Installs the Djangos, each in a virtual environment below target/test-env.
#
# Sets TEST_DJANGO and TEST_DJANGO_CODEC, lines of "version=python", and the summary in django_ran and django_not_run.

# Django's version and the Pythons that it runs on: the newest of these that is found is taken.
# Live: the whole site of tests/django. Codec: only reading and writing of session texts and passwords.
LIVE="4.2.30=3.9-3.12 5.2.19=3.10-3.14 6.1.3=3.12-3.14"
LIVE_WITH=(psycopg==3.2.13 psycopg-binary==3.2.13 gunicorn==23.0.0 argon2-cffi==25.1.0 bcrypt==5.0.0)
# The clients of Redis that sites of that time have.
LIVE_WITH_4=(redis==5.3.1 django-redis==6.0.0)
LIVE_WITH_LATER=(redis==8.1.0 django-redis==7.0.0)
CODEC_WITH=(argon2-cffi==25.1.0 bcrypt==4.3.0)
CODEC="1.11.29=3.6-3.11 2.2.28=3.6-3.11 3.0.14=3.6-3.11 3.2.25=3.6-3.13"

TEST_DJANGO=
TEST_DJANGO_CODEC=
django_ran=
django_not_run=

# install_django VERSION=PYTHONS [PACKAGE…]: sets installed to the environment's python, if any.
install_django() {
    local version=${1%=*} pythons_wanted=${1#*=} minor python dir
    local wanted=("Django==$version" "${@:2}")
    installed=
    read -r minor python <<<"$(python_for "$pythons_wanted")"
    if [ -z "$minor" ]; then
        django_not_run+="  Django $version: no Python $pythons_wanted with venv was found"$'\n'
        return
    fi
    dir=$target/test-env/django-$version-py3.$minor
    # Written last, so that an installation that was cut short is done again.
    if [ "$(cat "$dir/complete" 2>/dev/null)" != "${wanted[*]}" ] || ! "$dir/bin/python" -c 'import django'; then
        printf 'installing Django %s for Python 3.%s\n' "$version" "$minor"
        rm -rf "$dir"
        mkdir -p "$target/test-env"
        {
            "$python" -m venv "$dir" && "$dir/bin/python" -m pip install -q "${wanted[@]}"
        } </dev/null >"$dir.log" 2>&1 ||
            fail "could not install ${wanted[*]} with $python: $(cat "$dir.log")"
        printf '%s\n' "${wanted[*]}" >"$dir/complete"
    fi
    installed=$dir/bin/python
    django_ran+="  Django $version on Python 3.$minor${site:+, the whole site}"$'\n'
}

install_djangos() {
    local entry site=
    for entry in $CODEC; do
        install_django "$entry" "${CODEC_WITH[@]}"
        [ -z "$installed" ] || TEST_DJANGO_CODEC+="${entry%=*}=$installed"$'\n'
    done
    site=yes
    for entry in $LIVE; do
        case $entry in
            4.*) install_django "$entry" "${LIVE_WITH[@]}" "${LIVE_WITH_4[@]}" ;;
            *) install_django "$entry" "${LIVE_WITH[@]}" "${LIVE_WITH_LATER[@]}" ;;
        esac
        [ -z "$installed" ] || TEST_DJANGO+="${entry%=*}=$installed"$'\n'
    done
    TEST_DJANGO_CODEC+=$TEST_DJANGO
    print_djangos
}

print_djangos() {
    printf '%s%s' "$django_ran" "${django_not_run:+not run:$'\n'$django_not_run}"
}
