"""The calls of SwarmSpawner, to a manager."""

from __future__ import annotations

import json

from dockyard.gate import strict
from dockyard.gate.calls import answers, described
from dockyard.gate.calls.engine import Call, Calls, Outcome, Relay
from dockyard.gate.policy import checks
from dockyard.gate.strict import Refused
from dockyard.gate.upstream import Request


class SwarmCalls(Calls):
    async def services(self, call: Call) -> Outcome:
        return await self._send(call, "GET", "/services", {"filters": self._own_filters(call)})

    async def create_service(self, call: Call) -> Outcome:
        order = checks.service(self.allowed, call.json)
        call.about.update(described.service(order.body))
        for network in order.networks:
            await self.owned.check_network(call.version, network)
        for secret in order.secrets:
            await self.owned.of_swarm(call.version, "secrets", secret)
        answer = await self._send(call, "POST", "/services/create", body=order.body, headers=self._registry(call))
        if answer.ok:
            self.owned.made_service(answer.json()["ID"])
        return answer

    async def inspect_service(self, call: Call) -> Outcome:
        answer, _ = await self.owned.of_swarm(call.version, "services", call.names["name"])
        return answer

    async def _service(self, call: Call) -> str:
        return f"/services/{await self.owned.service(call.version, call.names['name'])}"

    async def remove_service(self, call: Call) -> Outcome:
        return await self._send(call, "DELETE", await self._service(call))

    async def service_logs(self, call: Call) -> Outcome:
        query = self._of_a_log(call)
        return Relay(Request("GET", f"{await self._service(call)}/logs", query))

    async def tasks(self, call: Call) -> Outcome:
        """Whose they are is asked before: all of the hub's, every few seconds, are thousands to read."""
        filters = strict.label_filters(call.query.get("filters", ""))
        if filters.keys() == {"service"}:
            filters = {"service": [await self.owned.service(call.version, one) for one in filters["service"]]}
        elif filters.keys() != {"label"} or not checks.names_of_ours(self.allowed, filters["label"]):
            raise Refused(f"Tasks are listed by service, or by the label {checks.INSTANCE}={self.allowed.project}.")
        return await self._send(call, "GET", "/tasks", {"filters": json.dumps(filters)})

    async def inspect_task(self, call: Call) -> Outcome:
        return await self.owned.task(call.version, call.names["name"])

    async def inspect_node(self, call: Call) -> Outcome:
        answer = await self._send(call, "GET", f"/nodes/{call.names['name']}")
        return answer.replaced(answers.node(answer.json())) if answer.ok else answer

    async def secrets(self, call: Call) -> Outcome:
        return await self._send(call, "GET", "/secrets", {"filters": self._own_filters(call)})

    async def create_secret(self, call: Call) -> Outcome:
        order = checks.secret(self.allowed, call.json)
        call.about.update(described.thing(order.body))
        return await self._send(call, "POST", "/secrets/create", body=order.body)

    async def remove_secret(self, call: Call) -> Outcome:
        _, found = await self.owned.of_swarm(call.version, "secrets", call.names["name"])
        return await self._send(call, "DELETE", f"/secrets/{found['ID']}")
