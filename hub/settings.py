"""Every setting of the kit, once: name, type, default, help. The only reader of the environment.

`.env.example` and the table in hub/README.md are printed from here; loading.py has them read.

Each setting is the environment variable of its name in capitals. A secret may be given as NAME_FILE instead, the path
of a file that holds it. An empty variable counts as one that is not set.
"""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import database
from kinds import (
    URL,
    Address,
    HostPath,
    MemoryGuarantee,
    MemoryLimit,
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
from reading import FileSource
from rules import LETS_ENCRYPT, Rules, overlays_of


class Settings(Rules):
    """The settings of one kit, checked."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, validate_default=False, hide_input_in_errors=True
    )

    compose_file: str = setting(
        "kit",
        "The compose files that make up this kit, ':' between them.",
        "compose/compose.yaml",
        pattern=r"^\S+$",
    )
    compose_project_name: str = setting(
        "kit",
        "The kit's name on this engine, prefix of its containers, volumes, networks and images. Two kits, two names.",
        "dockyard",
        pattern=r"^[a-z0-9]+((_|__|-+)[a-z0-9]+)*-*$",
        max_length=30,
    )

    spawner: Literal["docker", "swarm"] = setting(
        "kit",
        "Where users' servers run: docker, on this engine; swarm, which compose/stack.yaml sets by itself.",
        "docker",
    )

    public_url: Origin = setting(
        "address",
        "What users type, such as https://hub.example.org; empty: the address and port below. No path.",
        "",
        validate_default=True,
    )
    bind_addr: Address = setting(
        "address",
        "Address on this machine to listen on; 0.0.0.0 lets other machines in.",
        "127.0.0.1",
        validate_default=True,
    )
    port: int = setting("address", "Port to listen on; not used with compose/compose.tls.yaml.", 8000, ge=1, le=65535)

    proxies_in_front: int = setting(
        "address",
        "Number of your own reverse proxies before the kit that set X-Forwarded-For. By it, the hub knows the clients' "
        "addresses. Caddy of compose/compose.tls.yaml does not count.",
        0,
        ge=0,
        le=9,
    )

    http_port: int = setting(
        "tls", "With compose/compose.tls.yaml: the port that is sent on to HTTPS; ACME wants 80.", 80, ge=1, le=65535
    )
    https_port: int = setting(
        "tls", "With compose/compose.tls.yaml: the port of HTTPS.", 443, ge=1, le=65535, validate_default=True
    )
    cert_file: HostPath = setting(
        "tls", "Certificate of PUBLIC_URL's host and its issuers' (PEM); empty: one is obtained by ACME.", ""
    )
    key_file: HostPath = setting("tls", "The certificate's private key (PEM).", "", validate_default=True)
    acme_ca: str = setting(
        "tls",
        "Where certificates come from: an authority's ACME directory.",
        LETS_ENCRYPT,
        pattern=r"^https://\S+$",
    )
    acme_email: str = setting(
        "tls", "Where that authority writes to about certificates; empty: nowhere.", "", pattern=r"^([^@\s]+@[^@\s]+)?$"
    )
    acme_root_file: HostPath = setting(
        "tls", "Certificates (PEM) that vouch for ACME_CA itself; empty: the well-known ones.", ""
    )
    edge_image: str = setting(
        "tls",
        "With compose/compose.tls.yaml: the image of Caddy, which brings HTTPS.",
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
        "sign-in", "Users who may enter, comma between names. With AUTH=password, empty: everybody.", ()
    )
    blocked_users: Names = setting("sign-in", "Users who may not enter, whatever else lets them in.", ())
    admin_users: Names = setting(
        "sign-in", "Administrators, who may enter, too. With AUTH=password they have ADMIN_PASSWORD; empty: admin.", ()
    )
    allow_all: Switch = setting(
        "sign-in",
        "Everybody whom the sign-in service knows may enter: true or false. At GitHub that is the whole world.",
        False,
    )
    allow_weak_password: Switch = setting(
        "sign-in",
        "A password that is easily guessed is accepted although other machines reach the hub: true or false.",
        False,
    )
    user_password: SecretStr = setting(
        "sign-in",
        "The password of all users with AUTH=password, at least 8 characters.",
        SecretStr(""),
        generate="password",
        min_length=8,
    )
    admin_password: SecretStr = setting(
        "sign-in",
        "The password of the administrators with AUTH=password, at least 32 characters.",
        SecretStr(""),
        generate="passphrase",
        min_length=32,
    )

    github_client_id: str = setting("github", "Client ID of the OAuth app that you registered at GitHub.", "")
    github_client_secret: SecretStr = setting("github", "Client secret of that OAuth app.", SecretStr(""))
    github_allowed_organizations: Names = setting(
        "github", "Whose members may enter: org or org:team, comma between; names as they stand in URLs.", ()
    )
    github_admin_teams: Names = setting("github", "Teams whose members are administrators: org:team.", ())
    github_url: str = setting(
        "github", "A GitHub Enterprise server, such as https://github.example.org.", "", pattern=URL
    )

    oauth_client_id: str = setting(
        "oauth", "Client ID for other services, where they have no variable of their own (as GITLAB_CLIENT_ID).", ""
    )
    oauth_client_secret: SecretStr = setting("oauth", "Client secret for other services.", SecretStr(""))
    oauth_callback_url: str = setting(
        "oauth", "Where services send users back to; empty: <PUBLIC_URL>/hub/oauth_callback.", "", pattern=URL
    )

    notebook_image: str = setting(
        "servers",
        "Image of the users' servers; empty: the one that this kit builds. It must have jupyterhub-singleuser.",
        "",
        pattern=r"^\S*$",
    )
    allowed_images: Names = setting(
        "servers",
        "Other images that users may choose, comma between; those in PROFILES_FILE need not be here.",
        (),
    )
    pull_policy: Literal["ifnotpresent", "always", "never"] = setting(
        "servers", "When to pull the image: ifnotpresent, always or never.", "ifnotpresent"
    )
    registry_auth_file: HostPath = setting(
        "servers",
        'Docker config.json with the credentials of private registries in it ("auths"); empty: none is private.',
        "",
    )
    profiles_file: HostPath = setting(
        "servers", "File of profiles that users choose from (YAML, see hub/README.md); empty: there is no choice.", ""
    )
    mem_limit: MemoryLimit = setting(
        "servers",
        "Memory of each server, such as 512M or 2G; a number alone is bytes. Swap is off.",
        "2G",
        validate_default=True,
    )
    cpu_limit: float | None = setting(
        "servers", "Cores for each server, such as 0.5 or 2; empty: no limit.", None, gt=0, allow_inf_nan=False
    )
    mem_guarantee: MemoryGuarantee = setting(
        "servers", "Memory that a server keeps when memory runs short, such as 512M; empty: none.", None
    )
    cpu_guarantee: float | None = setting(
        "servers",
        "Cores that a server gets where all are wanted, such as 0.5; empty: an equal share.",
        None,
        gt=0,
        allow_inf_nan=False,
    )
    pids_limit: int = setting("servers", "Processes and threads of each server.", 1024, ge=64)
    tmp_size: TmpSize = setting(
        "servers",
        "Size of /tmp of each server on one host, such as 512M or 4G; its files are in the server's memory, of which "
        "it has at most half. 0: /tmp is on the host's disk, without a limit.",
        "1G",
        validate_default=True,
    )
    gpus: str = setting(
        "servers",
        "GPUs of each server: all, a number, or empty for none; profiles may say more.",
        "",
        pattern=r"^(all|\d*)$",
    )
    start_timeout: int = setting("servers", "Seconds that a server may take to start, pulling not counted.", 60, ge=5)
    named_servers: Switch = setting(
        "servers", "Users may have several servers, each with a name: true or false.", False
    )

    cull_idle_after: int = setting(
        "culling",
        "Seconds without activity after which a server is stopped, at least 120; 0: never. In images that are built on "
        "the kit's, a busy kernel is activity, and an open tab is not.",
        0,
        ge=0,
    )
    cull_max_age: int = setting(
        "culling", "Seconds after which a server is stopped however active it is, at least 10; 0: never.", 0, ge=0
    )
    cull_action: Literal["stop", "sleep"] = setting(
        "culling",
        "What stopping does, by the culler or by users. sleep: the server is frozen and wakes with its kernels; "
        "it gives processors back, not memory.",
        "stop",
    )
    max_sleeping: int = setting(
        "culling", "Servers that may sleep at a time; of more, the oldest are ended. 0: no limit.", 50, ge=0
    )
    sleep_max_age: int = setting(
        "culling", "Seconds that a server may sleep before it is ended; 0: for ever.", 7 * 24 * 3600, ge=0
    )

    home_path: str = setting(
        "storage",
        "Path in users' servers at which the home volume is mounted: HOME of the notebook image's user. A profile "
        "whose image has another one overrides volumes and notebook_dir.",
        "/home/jovyan",
        pattern=r"^/[^:{}\s]+$",
    )
    home_volume: str = setting(
        "storage",
        "Name of the volume that holds a user's home: {prefix}, which is COMPOSE_PROJECT_NAME, or your own text, then "
        "a hyphen and {username}.",
        "{prefix}-home-{username}",
        pattern=r"^[A-Za-z0-9_.{}-]*\{username\}[A-Za-z0-9_.{}-]*$",
    )
    shared_volumes: Names = setting(
        "storage",
        "Volumes that users share, name:/path, name:/path:ro or name:/path:ro@group, comma between them.",
        (),
    )
    volume_owner: str = setting(
        "storage",
        "Owner of shared volumes, uid:gid: who the notebook image's servers run as.",
        "1000:100",
        pattern=r"^\d+:\d+$",
    )
    bind_paths: Names = setting(
        "storage",
        "Paths of this host that hub/config.d or profiles may mount into servers, comma-separated; /path/* is each "
        "directory in /path, /path:ro may only be read.",
        (),
    )
    delete_data_with_user: Switch = setting(
        "storage", "Delete a user's home when the user is deleted in the hub: true or false.", False
    )

    network_isolation: Literal["shared", "per-user"] = setting(
        "network",
        "shared: users' servers are on one network. per-user: each has its own, so that none reaches another; for up "
        "to some 200 servers at a time.",
        "shared",
        validate_default=True,
    )
    user_subnet_pool: Subnets = setting(
        "network",
        "With per-user: private addresses for these networks, comma between; each takes a /29, the way to the internet "
        "a /22.",
        ("10.213.0.0/18",),
    )
    allow_internet: Switch = setting(
        "network", "Servers reach the internet; false is for NETWORK_ISOLATION=per-user.", True
    )
    allow_metadata: Switch = setting(
        "network",
        "Servers reach link-local addresses (169.254.0.0/16), where clouds tell a machine its credentials.",
        False,
    )
    user_dns: Resolvers = setting(
        "network",
        "Resolvers that servers ask for names, comma between addresses; empty: the engine's. Needed where that is "
        "169.254.169.254, as in some clouds.",
        (),
    )

    home_driver: str = setting(
        "swarm",
        "Volume driver of users' homes on a swarm, such as local; empty: plain volumes, each on the node of its first "
        "start.",
        "",
        pattern=r"^\S*$",
    )
    home_driver_opts: Options = setting(
        "swarm",
        "Its options, name=value, comma between; one with commas in double quotes, as docker has it: "
        "'type=nfs,\"o=addr=10.0.0.1,nfsvers=4\",device=:/homes/{username}'.",
        {},
    )
    home_scope: Literal["auto", "node", "swarm"] = setting(
        "swarm",
        "Where a home can be reached: node, where it was made; swarm, on every node; auto: by driver and options.",
        "auto",
    )
    fence_after: int = setting(
        "swarm",
        "Seconds that a node has to be down before its servers' homes are opened on another one, where all nodes have "
        "them: a server that reaches nobody for so long ends itself.",
        300,
        ge=10,
    )
    registry: str = setting(
        "swarm",
        "Where nodes get the images from, host/prefix: built, pushed and deployed by digest; empty: "
        "scripts/image-to-nodes.",
        "",
        pattern=r"^([\w.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)?$",
    )
    users_subnet: Subnet = setting(
        "swarm",
        "Addresses of the users' network, such as 10.96.0.0/16; empty: the swarm's own choice, for some 240 servers.",
        "",
    )

    cookie_secret: SecretStr = setting(
        "hub", "Signs the cookies: 64 hexadecimal digits. A new one signs everybody out.", generate="hex"
    )
    crypt_key: SecretStr = setting(
        "hub",
        "Encrypts what is kept of sign-ins: 64 hexadecimal digits. To change it, put the new one before: NEW;OLD.",
        SecretStr(""),
        generate="hex",
    )
    proxy_auth_token: SecretStr = setting(
        "hub",
        "What the hub and the proxy know each other by, at least 32 characters.",
        generate="hex",
        min_length=32,
    )
    db_url: SecretStr = setting(
        "hub",
        "The hub's database, such as postgresql://user:password@host:5432/name, with the password URL-encoded (@ is "
        "%40); empty: SQLite on a volume, or the server of compose/compose.postgres.yaml.",
        "",
        validate_default=True,
    )
    postgres_password: SecretStr = setting(
        "hub",
        "Password of the database server of compose/compose.postgres.yaml, which keeps the one that it was made with.",
        "",
        generate="hex",
        validate_default=True,
    )
    postgres_image: str = setting(
        "hub",
        "With compose/compose.postgres.yaml: the image of the database server.",
        "postgres:17-trixie@sha256:d74eeac9a635390a49bc21bd49fccd973de707e2a53a76ac49b552b8712ec46f",
        pattern=r"^\S+$",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "hub", "How much the hub logs: DEBUG, INFO, WARNING or ERROR.", "INFO"
    )
    subdomains: Switch = setting(
        "hub",
        "Each user's server under a host name of its own, below PUBLIC_URL's: true or false. *.hub.example.org has to "
        "lead here, too.",
        False,
    )
    hub_title: str = setting("hub", "The hub's name on its pages and in the browser's tab.", "JupyterHub")
    logo_file: HostPath = setting("hub", "Image shown on the hub's pages (PNG or SVG); empty: Jupyter's.", "")

    docker_socket: HostPath = setting("engine", "The Docker engine's socket on this host.", "/var/run/docker.sock")
    docker_gid: int = setting(
        "engine", "Group id of that socket, by which the gate may use it.", generate="socket-gid", ge=0
    )
    engine_access: Literal["gate", "socket"] = setting(
        "engine",
        "What the hub may ask of the engine. gate: what servers need; socket: everything, so that who takes over the "
        "hub has the host.",
        "gate",
    )
    gate_limits: Literal["auto", "always", "never"] = setting(
        "engine",
        "When the gate refuses servers that ask for more than MEM_LIMIT, CPU_LIMIT, PIDS_LIMIT and PROFILES_FILE give: "
        "always; never; auto: unless hub/config.d has a file, which may give servers more.",
        "auto",
    )

    python_image: str = setting(
        "builds",
        "Base of all images: Debian 13 with Python. Where no registry can be reached, one like it is built.",
        "python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b",
        pattern=r"^\S+$",
    )
    extra_ca_file: HostPath = setting(
        "builds",
        "Certificates of your own authority (PEM), trusted while images are built, and by the hub; never in an image.",
        "",
    )
    pip_index_url: str = setting("builds", "Python package index to build from; empty: PyPI.", "", pattern=URL)
    npm_registry: str = setting("builds", "npm registry to build from; empty: npm's own.", "", pattern=URL)
    debian_mirror: str = setting("builds", "Debian mirror to build from; empty: deb.debian.org.", "", pattern=URL)

    @property
    def database(self) -> str:
        """The address of the hub's database, password and all."""
        if text := self.db_url.get_secret_value():
            url = database.parse(text)
        elif "postgres" in overlays_of(self.compose_file):
            url = database.of_the_overlay(self.postgres_password.get_secret_value())
        else:
            return database.SQLITE
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
