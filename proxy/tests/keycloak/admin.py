"""Changes the keys of realm `weir` as an administrator of Keycloak does.

    admin.py http://127.0.0.1:PORT rotate     a new key signs from now on, the one before stays published
    admin.py http://127.0.0.1:PORT drop-old   every other key for signatures is removed
"""

import json
import sys
import urllib.parse
import urllib.request

base, command = sys.argv[1:3]


def call(method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"} if isinstance(body, dict) else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(base + path, data=data, headers=headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


form = {"client_id": "admin-cli", "grant_type": "password", "username": "admin", "password": "admin"}
login = call("POST", "/realms/master/protocol/openid-connect/token", urllib.parse.urlencode(form).encode())
token = login["access_token"]
realm = call("GET", "/admin/realms/weir", token=token)["id"]
provider = "org.keycloak.keys.KeyProvider"
components = call("GET", f"/admin/realms/weir/components?type={provider}", token=token)
signing = [component for component in components if component["providerId"] == "rsa-generated"]
priority = max(int(component["config"]["priority"][0]) for component in signing)

if command == "rotate":
    config = {"priority": [str(priority + 100)], "algorithm": ["RS256"]}
    name = f"rsa-{priority + 100}"
    body = {"name": name, "providerId": "rsa-generated", "providerType": provider, "parentId": realm, "config": config}
    call("POST", "/admin/realms/weir/components", body, token)
else:
    for component in signing:
        if int(component["config"]["priority"][0]) < priority:
            call("DELETE", f"/admin/realms/weir/components/{component['id']}", token=token)
