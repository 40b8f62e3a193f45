"""How a service comes to run. Adding a provider is one module here and one line in :data:`PROVIDERS`."""

from __future__ import annotations

PROVIDERS = {
    "embedded": "realstack.providers.embedded:Embedded",
    "containers": "realstack.providers.containers:Containers",
    "compose": "realstack.providers.compose:Compose",
    "external": "realstack.providers.external:External",
}
