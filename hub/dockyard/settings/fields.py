"""Every setting of the kit, once: name, type, default, help. The only reader of the environment.

`.env.example` and the table in hub/README.md are printed from here; loading.py has them read.

Each setting is the environment variable of its name in capitals. A secret may be given as NAME_FILE instead, the path
of a file that holds it. An empty variable counts as one that is not set.
"""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dockyard.settings import db_url
from dockyard.settings.contradictions import overlays_of
from dockyard.settings.rules import Rules
from dockyard.settings.sources import FileSource
from dockyard.settings.types import (
    MIRROR,
    MOST_PIDS,
    MOST_SECONDS,
    URL,
    Address,
    HostPath,
    Image,
    Images,
    MemoryGuarantee,
    MemoryLimit,
    Mirror,
    Names,
    Options,
    Origin,
    Resolvers,
    Subnet,
    Subnets,
    Switch,
    TmpSize,
    setting,
)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_NO_TOKEN = (
    "Its path must not contain a token. Builds can't detect one there, and show it in `ps`, in the history of images, "
    "and to users."
)


class Settings(Rules):
    """The settings of one kit, checked."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, validate_default=False, hide_input_in_errors=True
    )

    compose_file: str = setting(
        "kit",
        "Colon-separated compose files of this kit.",
        "compose/compose.yaml",
        pattern=r"^\S+$",
    )
    compose_project_name: str = setting(
        "kit",
        "Name of the kit on this engine, and prefix of its containers, volumes, networks and images. Each kit "
        "needs its own name.",
        "dockyard",
        pattern=r"^[a-z0-9]+((_|__|-+)[a-z0-9]+)*-*$",
        max_length=30,
        gate=True,
    )

    spawner: Literal["docker", "swarm"] = setting(
        "kit",
        "Where users' servers run: docker, on this engine; swarm, which compose/stack.yaml sets by itself.",
        "docker",
        gate=True,
    )

    public_url: Origin = setting(
        "address",
        "URL that users type, such as https://hub.example.org, without a path; empty: the address and port below.",
        "",
        validate_default=True,
    )
    bind_addr: Address = setting(
        "address",
        "Address of this machine to listen on. With 0.0.0.0, other machines reach the hub.",
        "127.0.0.1",
        validate_default=True,
    )
    port: int = setting("address", "Port to listen on; not used with compose/compose.tls.yaml.", 8000, ge=1, le=65535)

    proxies_in_front: int = setting(
        "address",
        "Number of your own reverse proxies before the kit that set X-Forwarded-For. With it, the hub finds the "
        "clients' addresses. Do not count Caddy of compose/compose.tls.yaml.",
        0,
        ge=0,
        le=9,
    )

    http_port: int = setting(
        "tls",
        "With compose/compose.tls.yaml: port of plain HTTP, which is redirected to HTTPS. ACME needs port 80.",
        80,
        ge=1,
        le=65535,
    )
    https_port: int = setting(
        "tls", "With compose/compose.tls.yaml: port of HTTPS.", 443, ge=1, le=65535, validate_default=True
    )
    cert_file: HostPath = setting(
        "tls", "Certificate of PUBLIC_URL's host with those of its issuers (PEM); empty: Caddy obtains one by ACME.", ""
    )
    key_file: HostPath = setting("tls", "Private key of that certificate (PEM).", "", validate_default=True)
    acme_ca: str = setting(
        "tls",
        "ACME directory of the certificate authority.",
        LETS_ENCRYPT,
        pattern=r"^https://\S+$",
    )
    acme_email: str = setting(
        "tls", "Contact e-mail address of the ACME account. Optional.", "", pattern=r"^([^@\s]+@[^@\s]+)?$"
    )
    acme_root_file: HostPath = setting(
        "tls", "Root certificates (PEM) with which Caddy checks ACME_CA; empty: the well-known ones.", ""
    )
    edge_image: Image = setting(
        "tls",
        "With compose/compose.tls.yaml: image of Caddy, which serves HTTPS.",
        "caddy:2.11@sha256:0c994536bddb66445885237f1a5dcc1916bccea922661c76b4e9fc24061f9b52",
        pattern=r"^\S+$",
    )

    auth: str = setting(
        "sign-in",
        "How users sign in. password: any name with USER_PASSWORD; github; or another service by its name: oidc, "
        "gitlab, google, azuread, ...",
        "password",
        pattern=r"^[a-z0-9-]+$",
    )
    allowed_users: Names = setting(
        "sign-in", "Comma-separated names of users who may sign in. With AUTH=password, empty: all names.", ()
    )
    blocked_users: Names = setting(
        "sign-in", "Comma-separated names of users who may not sign in, whatever other settings allow.", ()
    )
    admin_users: Names = setting(
        "sign-in",
        "Comma-separated names of administrators, who may sign in, too. With AUTH=password, they use "
        "ADMIN_PASSWORD; empty: admin.",
        (),
    )
    allow_all: Switch = setting(
        "sign-in",
        "Whether all accounts of the sign-in service may sign in: true or false. At GitHub, these are all "
        "accounts in the world.",
        False,
    )
    allow_weak_password: Switch = setting(
        "sign-in",
        "Whether an easily guessed password is accepted although other machines reach the hub: true or false.",
        False,
    )
    user_password: SecretStr = setting(
        "sign-in",
        "Password of all users with AUTH=password, at least 8 characters.",
        SecretStr(""),
        generate="password",
        min_length=8,
    )
    admin_password: SecretStr = setting(
        "sign-in",
        "Password of the administrators with AUTH=password, at least 32 characters.",
        SecretStr(""),
        generate="passphrase",
        min_length=32,
    )

    github_client_id: str = setting("github", "Client ID of the OAuth app that you registered at GitHub.", "")
    github_client_secret: SecretStr = setting("github", "Client secret of that OAuth app.", SecretStr(""))
    github_allowed_organizations: Names = setting(
        "github",
        "Comma-separated GitHub organizations or org:team entries whose members may sign in. Write names as in URLs.",
        (),
    )
    github_admin_teams: Names = setting(
        "github", "Comma-separated teams whose members are administrators, as org:team.", ()
    )
    github_url: str = setting(
        "github",
        "URL of a GitHub Enterprise server, such as https://github.example.org; empty: github.com.",
        "",
        pattern=URL,
    )

    oauth_client_id: str = setting(
        "oauth",
        "Client ID for a service that has no variable of its own. GitLab has one, for example: GITLAB_CLIENT_ID.",
        "",
    )
    oauth_client_secret: SecretStr = setting(
        "oauth", "Client secret for a service that has no variable of its own.", SecretStr("")
    )
    oauth_callback_url: str = setting(
        "oauth", "URL to which the service sends users back; empty: <PUBLIC_URL>/hub/oauth_callback.", "", pattern=URL
    )

    notebook_image: Image = setting(
        "servers",
        "Image of users' servers, which must contain jupyterhub-singleuser; empty: the image that this kit builds.",
        "",
        pattern=r"^\S*$",
        gate=True,
    )
    allowed_images: Images = setting(
        "servers",
        "Comma-separated images that users may choose besides NOTEBOOK_IMAGE. Images in PROFILES_FILE need not be"
        " listed.",
        (),
        gate=True,
    )
    pull_policy: Literal["ifnotpresent", "always", "never"] = setting(
        "servers", "When to pull notebook images: ifnotpresent, always or never.", "ifnotpresent"
    )
    registry_auth_file: HostPath = setting(
        "servers",
        'Docker config.json that contains the credentials of private registries ("auths"); empty: no private registry.',
        "",
    )
    profiles_file: HostPath = setting(
        "servers",
        "File of profiles that users choose from (YAML, see hub/README.md); empty: no choice.",
        "",
        gate=True,
    )
    mem_limit: MemoryLimit = setting(
        "servers",
        "Memory limit of each server, such as 512M or 2G; a number without a unit means bytes. On one host, swap "
        "is off.",
        "2G",
        validate_default=True,
        gate=True,
    )
    cpu_limit: float | None = setting(
        "servers",
        "Number of cores that each server may use, such as 0.5 or 2; empty: no limit.",
        None,
        gt=0,
        allow_inf_nan=False,
        gate=True,
    )
    mem_guarantee: MemoryGuarantee = setting(
        "servers", "Memory that each server keeps if memory runs short, such as 512M; empty: none.", None
    )
    cpu_guarantee: float | None = setting(
        "servers",
        "Number of cores that each server gets if all cores are busy, such as 0.5; empty: an equal share.",
        None,
        gt=0,
        allow_inf_nan=False,
        gate=True,
    )
    pids_limit: int = setting(
        "servers",
        "Maximum number of processes and threads of each server.",
        1024,
        ge=64,
        le=MOST_PIDS,
        gate=True,
    )
    tmp_size: TmpSize = setting(
        "servers",
        "Size of /tmp of each server on one host, such as 512M or 4G. Its files count as the server's memory; the"
        " size is at most half of that. 0: /tmp is on the host's disk, without a limit.",
        "1G",
        validate_default=True,
    )
    gpus: str = setting(
        "servers",
        "GPUs of each server: all, a number, or empty for none. Profiles may give more.",
        "",
        pattern=r"^(all|[0-9]{0,3})$",
        gate=True,
    )
    start_timeout: int = setting(
        "servers",
        "Maximum time for the start of a server, in seconds, without pulling its image.",
        60,
        ge=5,
        le=MOST_SECONDS,
    )
    named_servers: Switch = setting(
        "servers", "Whether users may have several servers, each with a name: true or false.", False
    )

    cull_idle_after: int = setting(
        "culling",
        "Seconds without activity after which a server is stopped, at least 120; 0: never. In the kit's image and"
        " images built on it, a busy kernel counts as activity, and an open tab does not.",
        0,
        ge=0,
        le=MOST_SECONDS,
    )
    cull_max_age: int = setting(
        "culling",
        "Seconds after which a server is stopped, even if it is active, at least 10; 0: never.",
        0,
        ge=0,
        le=MOST_SECONDS,
    )
    cull_action: Literal["stop", "sleep"] = setting(
        "culling",
        "What happens to a server that the culler or its user stops: stop or sleep. A sleeping server is paused, "
        "and continues later with its kernels. It uses no processor time, but keeps its memory.",
        "stop",
    )
    max_sleeping: int = setting(
        "culling",
        "Maximum number of sleeping servers. If there are more, the oldest are stopped. 0: no limit.",
        50,
        ge=0,
        le=10**6,
    )
    sleep_max_age: int = setting(
        "culling",
        "Maximum time that a server may sleep before it is stopped, in seconds. 0: no limit.",
        7 * 24 * 3600,
        ge=0,
        le=MOST_SECONDS,
    )

    home_path: str = setting(
        "storage",
        "Path at which the home volume is mounted in users' servers: HOME of the notebook image's user. If a "
        "profile's image has another HOME, override volumes and notebook_dir in that profile.",
        "/home/jovyan",
        pattern=r"^/[^:{}\s]+$",
    )
    home_volume: str = setting(
        "storage",
        "Name of the volume of a user's home: {prefix} or your own text, then a hyphen and {username}. {prefix} "
        "is COMPOSE_PROJECT_NAME.",
        "{prefix}-home-{username}",
        pattern=r"^[A-Za-z0-9_.{}-]*\{username\}[A-Za-z0-9_.{}-]*$",
        gate=True,
    )
    shared_volumes: Names = setting(
        "storage",
        "Comma-separated volumes that users share: name:/path, name:/path:ro or name:/path:ro@group.",
        (),
    )
    volume_owner: str = setting(
        "storage",
        "Owner of shared volumes, as uid:gid: the user of servers in the notebook image.",
        "1000:100",
        pattern=r"^\d+:\d+$",
    )
    bind_paths: Names = setting(
        "storage",
        "Comma-separated paths of this host that hub/config.d or profiles may mount into servers. /path/* means "
        "each directory in /path. A path with :ro may only be mounted read-only. An administrator must create missing "
        "directories, such as those of new users.",
        (),
        gate=True,
    )
    delete_data_with_user: Switch = setting(
        "storage", "Whether the hub deletes a user's home with the user: true or false.", False
    )

    network_isolation: Literal["shared", "per-user"] = setting(
        "network",
        "Networks of users' servers. shared: all are on one network. per-user: each has its own, so that no "
        "server reaches another, for up to some 200 concurrent servers.",
        "shared",
        validate_default=True,
        gate=True,
    )
    user_subnet_pool: Subnets = setting(
        "network",
        "With per-user: comma-separated private address ranges for these networks. Each network takes a /29, the "
        "one to the internet a /22.",
        ("10.213.0.0/18",),
        gate=True,
    )
    allow_internet: Switch = setting(
        "network", "Whether servers reach the internet: true or false. false needs NETWORK_ISOLATION=per-user.", True
    )
    allow_metadata: Switch = setting(
        "network",
        "Whether servers reach link-local addresses (169.254.0.0/16), where clouds serve a machine's credentials:"
        " true or false.",
        False,
    )
    user_dns: Resolvers = setting(
        "network",
        "Comma-separated addresses of DNS servers for users' servers; empty: the engine's. Needed if the engine's"
        " is 169.254.169.254, as in some clouds.",
        (),
    )

    home_driver: str = setting(
        "swarm",
        "Volume driver of users' homes on a swarm, such as local; empty: plain volumes, each on the node of its first "
        "start.",
        "",
        pattern=r"^\S*$",
        gate=True,
    )
    home_driver_opts: Options = setting(
        "swarm",
        "Comma-separated options of HOME_DRIVER, as name=value. Write an option that contains commas in double "
        "quotes, as Docker does: 'type=nfs,\"o=addr=10.0.0.1,nfsvers=4\",device=:/homes/{username}'.",
        {},
        gate=True,
        # Such as o=username=ada,password=...
        hidden=True,
    )
    home_scope: Literal["auto", "node", "swarm"] = setting(
        "swarm",
        "Nodes that can open a home. node: the one where it was created; swarm: all nodes; auto: depends on "
        "driver and options.",
        "auto",
    )
    fence_after: int = setting(
        "swarm",
        "If all nodes have the homes: seconds that a node must be down before another node opens its servers' "
        "homes. A server that reaches neither the hub nor the proxy for this time exits.",
        300,
        ge=10,
        le=MOST_SECONDS,
    )
    registry: str = setting(
        "swarm",
        "Registry of the nodes' images, as host/prefix. Images are built, pushed and deployed by digest. Empty: "
        "scripts/image-to-nodes.",
        "",
        pattern=r"^([\w.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)?$",
    )
    users_subnet: Subnet = setting(
        "swarm",
        "Address range of the users' network, such as 10.96.0.0/16; empty: the swarm chooses one, for some 240 "
        "servers.",
        "",
    )

    cookie_secret: SecretStr = setting(
        "hub",
        "Key that signs cookies: 64 hexadecimal digits. A new key signs all users out. On a swarm, make swarm-up then "
        "replaces hub and gate, whose token is derived from the key.",
        generate="hex",
    )
    crypt_key: SecretStr = setting(
        "hub",
        "Key that encrypts stored sign-in data: 64 hexadecimal digits. To change it, write the new key before the"
        " old one: NEW;OLD.",
        SecretStr(""),
        generate="hex",
    )
    proxy_auth_token: SecretStr = setting(
        "hub",
        "Shared secret of the hub and the proxy, at least 32 characters.",
        generate="hex",
        min_length=32,
    )
    db_url: SecretStr = setting(
        "hub",
        "URL of the hub's database, such as postgresql://user:password@host:5432/name, with the password "
        "URL-encoded (@ is %40); empty: SQLite on a volume, or the server of compose/compose.postgres.yaml.",
        "",
        validate_default=True,
    )
    postgres_password: SecretStr = setting(
        "hub",
        "Password of the database server of compose/compose.postgres.yaml. The server keeps the password that it "
        "was created with.",
        "",
        generate="hex",
        validate_default=True,
    )
    postgres_image: Image = setting(
        "hub",
        "With compose/compose.postgres.yaml: image of the database server.",
        "postgres:17-trixie@sha256:d74eeac9a635390a49bc21bd49fccd973de707e2a53a76ac49b552b8712ec46f",
        pattern=r"^\S+$",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "hub", "Log level of the hub: DEBUG, INFO, WARNING or ERROR.", "INFO"
    )
    subdomains: Switch = setting(
        "hub",
        "Whether each user's server has its own host name below PUBLIC_URL's: true or false. *.hub.example.org "
        "must point to this machine, too.",
        False,
    )
    hub_title: str = setting("hub", "Name of the hub on its pages and in the browser's tab.", "JupyterHub")
    logo_file: HostPath = setting("hub", "Image on the hub's pages (PNG or SVG); empty: Jupyter's logo.", "")

    docker_socket: HostPath = setting(
        "engine", "Path of the Docker engine's socket on this host.", "/var/run/docker.sock"
    )
    docker_gid: int = setting(
        "engine", "Group id of that socket, with which the gate may use it.", generate="socket-gid", ge=0, le=2**32 - 2
    )
    engine_access: Literal["gate", "socket"] = setting(
        "engine",
        "Engine calls that the hub may make. gate: what servers need; socket: all, so that an attacker who "
        "controls the hub controls the host.",
        "gate",
        gate=True,
    )
    gate_limits: Literal["auto", "always", "never"] = setting(
        "engine",
        "When the gate refuses servers that ask for more than MEM_LIMIT, CPU_LIMIT, PIDS_LIMIT and PROFILES_FILE "
        "give: always, never or auto. auto: unless hub/config.d gives servers more, or contains "
        "code that may do so at a start.",
        "auto",
        gate=True,
    )

    python_image: Image = setting(
        "builds",
        "Base of all images: Debian 13 with Python. If no registry can be reached, the kit builds a similar one.",
        "python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b",
        pattern=r"^\S+$",
    )
    extra_ca_file: HostPath = setting(
        "builds",
        "Certificates of your own authority (PEM). Builds and the hub trust them; no image contains them.",
        "",
    )
    pip_index_url: Mirror = setting(
        "builds", f"URL of the Python package index for builds; empty: PyPI. {_NO_TOKEN}", "", pattern=MIRROR
    )
    npm_registry: Mirror = setting(
        "builds", f"URL of the npm registry for builds; empty: npm's own. {_NO_TOKEN}", "", pattern=MIRROR
    )
    debian_mirror: Mirror = setting(
        "builds", f"URL of the Debian mirror for builds; empty: deb.debian.org. {_NO_TOKEN}", "", pattern=MIRROR
    )

    @property
    def database(self) -> str:
        """The address of the hub's database, password and all."""
        if text := self.db_url.get_secret_value():
            url = db_url.parse(text)
        elif "postgres" in overlays_of(self.compose_file):
            url = db_url.of_the_overlay(self.postgres_password.get_secret_value())
        else:
            return db_url.SQLITE
        return url.render_as_string(hide_password=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, FileSource(settings_cls), env_settings
