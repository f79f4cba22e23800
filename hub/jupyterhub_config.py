"""Settings to traits: assigns, decides nothing. Every setting is declared in dockyard/settings/fields.py.

A copy of this file is a template for a hub outside the kit. Such a hub needs the packages `dockyard` (this folder on
PYTHONPATH) and `dockerspawner`, and the variables of `.env` in its environment: at least COOKIE_SECRET, CRYPT_KEY,
PROXY_AUTH_TOKEN, DOCKER_GID, NOTEBOOK_IMAGE and the passwords. Change the lines that name what only the kit has. These
lines at the end of the copy do so for a hub on the host itself:

    c.JupyterHub.proxy_class = "jupyterhub.proxy.ConfigurableHTTPProxy"
    c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
    c.ConfigurableHTTPProxy.auth_token = c.ExternalProxy.auth_token
    c.JupyterHub.bind_url = "http://127.0.0.1:8000"
    c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
    c.JupyterHub.hub_connect_url = "http://127.0.0.1:8081"
    c.Spawner.hub_connect_url = "http://172.17.0.1:8081"
    c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
    c.JupyterHub.template_paths = []
    c.DockerSpawner.network_name = "bridge"
    c.DockerSpawner.attached_containers = []

The first three replace the proxy in a container of its own; 172.17.0.1 is the host's address for containers on the
network `bridge`.
"""

import os
import sys
from urllib.parse import urlsplit

from dockyard.hub import configcheck, culling, database, names, operatorconfig, web
from dockyard.hub.externalproxy import LAST_ADDRESS, own_address
from dockyard.settings import intervals, machine, profilesfile, sharing
from dockyard.settings.sources import Mistakes
from dockyard.signin.choice import load, sign_in

c = get_config()  # noqa: F821

try:
    settings = load()
    profiles = profilesfile.load(settings.profiles_file)
except Mistakes as mistakes:
    sys.exit("The hub does not start. Wrong in .env:\n" + "\n".join(f"  - {line}" for line in mistakes.lines))

project = settings.compose_project_name
database.reconnect()
database.explain()

# The hub and its proxy: a container each, so that the hub can be replaced while users work.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
# The proxy goes by address: names are the engine's to tell, which may be away. A swarm may have lost an address's node.
at = f"http://{'hub' if settings.spawner == 'swarm' else own_address('proxy-api')}:8081"
c.JupyterHub.hub_connect_url = at
# By name, where servers do, which outlive an address of the hub's.
c.Spawner.hub_connect_url = "http://hub:8081"
c.JupyterHub.public_url = settings.public_url
c.JupyterHub.subdomain_host = settings.public_url if settings.subdomains else ""
c.JupyterHub.db_url = settings.database
c.JupyterHub.db_kwargs = database.options(settings.database)
c.JupyterHub.cookie_secret = bytes.fromhex(settings.cookie_secret.get_secret_value())
c.JupyterHub.log_level = settings.log_level
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = intervals.TABLE_READ_EVERY
c.JupyterHub.allow_named_servers = settings.named_servers
c.JupyterHub.proxy_class = "dockyard.hub.externalproxy.ExternalProxy"
c.ExternalProxy.api_url = "http://proxy-api:8001"
c.ExternalProxy.last_address = "" if settings.spawner == "swarm" else str(LAST_ADDRESS)
c.ExternalProxy.auth_token = settings.proxy_auth_token.get_secret_value()
# The route by which a proxy shows that it still has its table.
host = urlsplit(settings.public_url).hostname if settings.subdomains else ""
c.ExternalProxy.extra_routes = {f"{host}/hub/": at}

# Sign-in.
way = sign_in(settings, os.environ)
c.JupyterHub.authenticator_class = way.authenticator
c[way.authenticator.__name__].update(way.traits)
c.CryptKeeper.keys = way.crypt_keys

# The web.
c.JupyterHub.tornado_settings = web.tornado_settings(settings.public_url)
c.JupyterHub.logging_config = web.LOGGING
web.limit_bodies()

# What the pages look like.
c.JupyterHub.template_paths = ["/srv/dockyard/templates"]
c.JupyterHub.template_vars = {"hub_title": settings.hub_title}
if settings.logo_file:
    c.JupyterHub.logo_file = settings.logo_file

# Users' servers.
c.JupyterHub.spawner_class = {"docker": "docker", "swarm": "docker-swarm"}[settings.spawner]
c.Spawner.start_timeout = settings.start_timeout
c.Spawner.default_url = "/lab"
c.Spawner.environment = {"JUPYTERHUB_ACTIVITY_INTERVAL": str(intervals.REPORT_EVERY)}
c.DockerSpawner.instance = project
c.DockerSpawner.prefix = project
c.DockerSpawner.network_name = f"{project}_users"
c.DockerSpawner.network_isolation = settings.network_isolation
c.DockerSpawner.user_subnet_pool = list(settings.user_subnet_pool)
c.DockerSpawner.allow_internet = settings.allow_internet
c.DockerSpawner.attached_containers = [f"com.docker.compose.project={project},com.docker.compose.service=proxy"]
# On a swarm, names come and go with their tasks.
c.DockerSpawner.start_check = names.check
c.SwarmSpawner.start_check = None
c.DockerSpawner.block_link_local = not settings.allow_metadata
c.DockerSpawner.image = settings.notebook_image
others = settings.allowed_images
c.DockerSpawner.allowed_images = [settings.notebook_image, *others] if others else []
c.DockerSpawner.profile_list = profiles
c.DockerSpawner.pull_policy = settings.pull_policy
sleeps = settings.cull_action == "sleep"
c.DockerSpawner.stop_action = "pause" if sleeps else "stop"
# A server that sleeps is a container that is kept.
c.DockerSpawner.remove = not sleeps
c.DockerSpawner.max_sleeping = settings.max_sleeping
c.DockerSpawner.pause_max_age = settings.sleep_max_age
c.DockerSpawner.notebook_dir = settings.home_path
c.DockerSpawner.home_advice = (
    "Set HOME_PATH={home} in .env. If a profile chooses the image, override volumes and notebook_dir in that profile "
    "(hub/README.md)."
)
shared = [sharing.parse(entry) for entry in settings.shared_volumes]
c.DockerSpawner.volumes = {settings.home_volume: settings.home_path, **sharing.volumes(shared, project)}
c.DockerSpawner.volume_owner = settings.volume_owner if shared else ""
c.DockerSpawner.delete_policy = "delete" if settings.delete_data_with_user else "keep"
c.DockerSpawner.gpus = int(settings.gpus) if settings.gpus.isdigit() else settings.gpus or None
c.DockerSpawner.mem_limit = settings.mem_limit
c.DockerSpawner.swap = False
c.DockerSpawner.cpu_limit = settings.cpu_limit
c.DockerSpawner.mem_guarantee = settings.mem_guarantee
c.DockerSpawner.cpu_guarantee = settings.cpu_guarantee
c.DockerSpawner.tmp_size = settings.tmp_size or None
# The same on every engine, whatever its default: a log without a limit fills the disk.
log_driver, log_options = "json-file", {"max-size": "10m", "max-file": "2"}
open_files = {"name": "nofile", "soft": machine.open_files(), "hard": machine.open_files()}
c.DockerSpawner.extra_host_config = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": settings.pids_limit,
    "dns": list(settings.user_dns) or None,
    "log_config": {"type": log_driver, "config": log_options},
    "ulimits": [open_files],
    # If the machine's memory runs out, the kernel ends servers before the kit's services and other programs.
    "oom_score_adj": 500,
}
if settings.spawner == "docker":
    # No program reads the health of servers, and checks of images cost processor time: every 5 s in docker-stacks.
    c.DockerSpawner.extra_create_kwargs = {"healthcheck": {"test": ["NONE"]}}

# On a swarm: a class of the same settings. Images are the nodes' to pull.
c.SwarmSpawner.pull_policy = "skip"
c.SwarmSpawner.extra_host_config = {}
c.SwarmSpawner.tmp_size = None
c.SwarmSpawner.extra_task_spec = {"log_driver": {"Name": log_driver, "Options": log_options}}
c.SwarmSpawner.extra_container_spec = {
    "cap_drop": ["ALL"],
    "privileges": {"NoNewPrivileges": True},
    "dns_config": {"Nameservers": list(settings.user_dns)} if settings.user_dns else None,
    "ulimits": [open_files],
}
c.SwarmSpawner.extra_resources_spec = {"pids_limit": settings.pids_limit}
c.SwarmSpawner.volume_driver = settings.home_driver
c.SwarmSpawner.volume_driver_options = settings.home_driver_opts
c.SwarmSpawner.volume_scope = settings.home_scope
c.SwarmSpawner.fence_after = settings.fence_after
c.SwarmSpawner.fence_contacts = ["proxy:8000"]

culling.accept_marked_reports()
names.remember(f"{project}_users")
c.JupyterHub.services = culling.services(settings)
c.JupyterHub.load_roles = culling.roles(settings)

# The operator's own, which has the last word.
try:
    for line in configcheck.adopt(c):
        operatorconfig.report(line)
except Mistakes as mistakes:
    operatorconfig.report_failure(mistakes, operatorconfig.FOLDER)
    sys.exit("The hub does not start. Wrong in hub/config.d:\n" + "\n".join(f"  - {line}" for line in mistakes.lines))
