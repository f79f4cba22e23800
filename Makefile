# An index: each verb is a script. `make` prints it.
.DEFAULT_GOAL := help
.PHONY: help up down destroy swarm-up swarm-down logs status doctor engine build test test-unit test-long bench lint settings lock pin audit sbom

##@ Run
up: ## set up all that is missing, start, print the URL
	@scripts/up
down: ## stop the users' servers and the kit; data stays
	@scripts/down
destroy: ## remove the kit with all data (asks; FORCE=1 does not)
	@scripts/destroy
swarm-up: ## the same on a Docker Swarm, from one of its managers
	@scripts/stack-deploy
swarm-down: ## remove the users' servers and the kit from the swarm; data stays
	@scripts/stack-down
logs: ## follow the logs (FOLLOW=0 prints and ends)
	@scripts/logs
status: ## services and users' servers
	@scripts/status
doctor: ## every problem of this machine and this kit, each with its fix; changes nothing
	@scripts/doctor
engine: ## use, start or install a Docker engine
	@scripts/engine
build: ## build the images
	@scripts/engine && scripts/env && scripts/build

##@ Develop
test: ## all tests but those that take minutes each
	@scripts/test
test-unit: ## the tests that need no engine
	@scripts/test unit
test-long: ## all tests, and faults of their real duration
	@LONG=1 scripts/test
bench: ## measure the spawner beside its predecessor and the engine (ONLY="a c": these rows)
	@scripts/bench
lint: ## ruff, mypy, shellcheck
	@scripts/lint
settings: ## print .env.example and the settings table again
	@scripts/settings
pin: ## write newer digests of third-party images into .env (DEFAULTS=1: into the kit's own defaults)
	@scripts/pin
audit: ## known vulnerabilities in the Python and npm packages of the images
	@scripts/audit
sbom: ## a software bill of materials of each image, with licences
	@scripts/sbom
lock: ## compile the requirements (UPGRADE=1: newest)
	@scripts/lock

help:
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
