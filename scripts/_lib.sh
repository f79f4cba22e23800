# Sourced by every script: where we are, how we speak, how .env and compose are reached. Defines, starts nothing.
# shellcheck shell=bash

# -P: compose would take a folder that is reached by a link for another one.
cd -P "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# .env is the one sheet: a variable of the shell that bears the name of a setting would silently beat it in compose.
while read -r setting; do
  for variable in "$setting" "${setting}_FILE"; do
    if [ -n "${!variable+set}" ]; then
      unset "$variable"
      printf 'dockyard: the shell has %s set; it is ignored, what counts is .env\n' "$variable" >&2
    fi
  done
done < <(sed -nE 's/^#?([A-Z_]+)=.*/\1/p' .env.example)
unset setting variable

# A tool that was just done when Ctrl-C came says nothing of it: the script ends all the same.
trap 'exit 130' INT

say() { printf '%s\n' "$*" >&2; }
step() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() {
  printf 'dockyard: %s\n' "$*" >&2
  exit 1
}
# Options of docker run and docker create. Without them, Docker's client gives containers its own proxy.
direct=()
while read -r variable; do direct+=(--env "$variable"); done < <(grep -v '^#' compose/no-proxy.env)
unset variable

is_root() { [ "$(id -u)" = 0 ]; }

# wait_for SECONDS COMMAND...: true as soon as COMMAND succeeds, false when the time is over.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    read -rt 0.3 <> <(:) || true
  done
}

# If .env can't be read, all settings would seem to be unset: the verb would act on the kit `dockyard`.
require_readable_env() {
  if [ -L .env ] && [ ! -e .env ]; then
    die "$PWD/.env is a link to $(readlink .env), which does not exist or is in a folder that $(id -un) can't enter: fix the link"
  elif [ -e .env ] && [ ! -f .env ]; then
    die "$PWD/.env is not a file: move it away; 'make up' creates a new one"
  elif [ -e .env ] && ! { : <.env; } 2>/dev/null; then
    die "$(id -un) can't read $PWD/.env, which belongs to $(find -L .env -printf %u 2>/dev/null || echo 'another user'): run make as that user, or change the owner of the file with chown"
  elif [ -e .env ] && [ "$(LC_ALL=C tr -d '\000' <.env | wc -c)" != "$(wc -c <.env)" ]; then
    die "$PWD/.env is not UTF-8 text: save it as UTF-8"
  elif [ -e .env ] && LC_ALL=C grep -aE '^[^#A-Za-z0-9_]*(export[[:blank:]]+)?COMPOSE_PROJECT_NAME[[:blank:]]*=' .env | LC_ALL=C grep -aqv '^COMPOSE_PROJECT_NAME='; then
    die "$PWD/.env has COMPOSE_PROJECT_NAME in a form that is read in several ways: write COMPOSE_PROJECT_NAME=name at the beginning of a line, without 'export', blanks or a byte order mark"
  fi
}
# Verbs for developers need no settings.
case ${0##*/} in audit | bench | engine | lint | lock | settings | test | venv) ;; *) require_readable_env ;; esac

# env_value NAME: what .env says, for the few names that are needed before the checker has an image to run in.
# Once the checker has passed .env, every reader agrees with this one.
env_value() {
  local value
  value=$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1)
  value=${value%$'\r'}
  case $value in \'*\') value=${value#\'} value=${value%\'} ;; esac
  printf '%s' "$value"
}

# What NAME is where .env says nothing; and what it is.
default_of() { sed -n "s/^#$1=//p" .env.example; }
setting() { env_value "$1" | grep . || default_of "$1"; }

project() {
  local name
  name=$(env_value COMPOSE_PROJECT_NAME)
  printf '%s' "${name:-dockyard}"
}

# overlay NAME: whether COMPOSE_FILE names compose.NAME.yaml.
overlay() {
  case ":$(env_value COMPOSE_FILE):" in *[:/]"compose.$1.yaml:"*) ;; *) return 1 ;; esac
}

# A company's own certificate authority: as .env names it, else as this shell's tools are told of it.
extra_ca_file() {
  local file
  for file in "$(env_value EXTRA_CA_FILE)" "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    if [ -n "$file" ]; then
      [ -r "$file" ] || die "the certificates in $file can't be read: fix EXTRA_CA_FILE in .env, or SSL_CERT_FILE, PIP_CERT, REQUESTS_CA_BUNDLE in the shell"
      printf '%s' "$file"
      return
    fi
  done
}

# Progress is for people: where nobody looks, only what went wrong is printed.
compose() {
  local progress=${PROGRESS:-quiet}
  [ ! -t 2 ] || progress=auto
  docker compose --progress "$progress" "$@"
}

# let_containers_read PATH: let a container's user read a file or folder of the kit that it mounts. The clone's umask may
# forbid that.
let_containers_read() {
  local wanted=-004
  [ ! -d "$1" ] || wanted=-005
  [ -n "$(find -L "$1" -maxdepth 0 -perm "$wanted")" ] || chmod a+rX "$1" 2>/dev/null ||
    die "$1 can't be read by the container's user, and only its owner may change that: chmod a+rX $1"
}

# keep_checked HASH: what scripts/check has found, for the gate (hub/dockyard/gate/policy/operators.py).
keep_checked() {
  local file=hub/config.d/.checked
  if [ -z "$1" ]; then
    [ ! -e $file ] || rm -f $file || die "$file can't be removed, and with it the gate refuses servers that have more than .env gives: remove it"
  elif [ "$(cat $file 2>/dev/null)" != "$1" ]; then
    { printf '%s\n' "$1" >$file && chmod a+r $file; } 2>/dev/null ||
      say "hub/config.d can't be written: the gate does not check how much memory, cores and processes servers have."
  fi
}

require_env() { [ -f .env ] || die "there is no .env here: 'make up' makes one"; }

# Called before the name is used. Image names begin with it: they have at most two _ in a row, and never _ before -.
require_name() {
  local name
  name=$(project)
  [[ ${#name} -le 30 && $name =~ ^[a-z0-9]+((_|__|-+)[a-z0-9]+)*-*$ ]] ||
    die "COMPOSE_PROJECT_NAME $name is not a valid name: lower-case letters, digits, and between them - or _, at most 30 characters. Fix it in .env"
}

# kit VERB: check or record which folder this kit's name belongs to (scripts/kits.py).
kit() { python3 scripts/kits.py "$1" "$(project)" "$(pwd -P)"; }

# Remove containers of services that COMPOSE_FILE no longer has. Compose itself would also remove users' servers, if a
# compose project of this name has built their image.
remove_orphans() {
  local ids
  mapfile -t ids < <(kit orphans)
  [ ${#ids[@]} -eq 0 ] || docker rm --force "${ids[@]}" >/dev/null
}

# require_own_name VERB: stop if the name may belong to a kit in another folder. Called before anything is changed.
require_own_name() {
  require_name
  kit "$1" || exit 1
}

# Ids of the users' servers of this kit, running or not.
servers() { docker ps "$@" --quiet --filter "label=dockyard.instance=$(project)"; }

# The kit's version: the tag of its images.
version() { sed -nE 's/^ *image:.*-hub:(.*)$/\1/p' compose/compose.yaml; }

# image NAME: the full name of one of the kit's images.
image() { printf '%s-%s:%s' "$(project)" "$1" "$(version)"; }

# Names of the settings in .env whose value is the path of a file that holds a secret: NAME_FILE for NAME.
secret_files() {
  sed -nE 's/^([A-Z_]+_FILE)=.+/\1/p' .env | grep -vxFf <(sed -nE 's/^#?([A-Z_]+_FILE)=.*/\1/p' .env.example) || true
}

# Ids of the services of users' servers on the swarm.
server_services() { docker service ls --quiet --filter "label=dockyard.instance=$(project)"; }

# Whether the kit, or a server of its users, is on the swarm of this engine.
on_swarm() {
  [ "$(docker info --format '{{.Swarm.ControlAvailable}}' 2>/dev/null)" = true ] &&
    [ -n "$(docker stack services --quiet "$(project)" 2>/dev/null)$(server_services)" ]
}
