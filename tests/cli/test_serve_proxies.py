"""The shipped Traefik and Envoy configurations. Debian has neither program, so each is played from its configuration file: every field in it
must be one that the proxy's reference documents, and what the proxy would send for a client's request goes to a real gateway, byte for byte.

Traefik: doc.traefik.io, ForwardAuth and Headers; the check is a GET with all of the client's header fields but the hop-by-hop ones, and
X-Forwarded-{Method,Proto,Host,Uri,For} set by Traefik. Envoy: ext_authz.proto; the check has the client's method, the path behind
path_prefix, Host, Authorization, Content-Length 0 and the allowed_headers; its client adds its own address to X-Forwarded-For, and
x-envoy-internal and x-envoy-expected-rq-timeout-ms."""

import os
import pathlib

import yaml

import gateway
import harness
from gateway import key_text

EXAMPLES = pathlib.Path(os.environ["KMTOOL_SOURCE"]) / "cmd" / "examples"
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
CLIENT = "203.0.113.7"

KEYS = [{"number": 1, "app": "shop", "environment": "production", "restrictions": {"ip": [CLIENT]}}, {"number": 2, "revoked": True},
        {"number": 3, "restrictions": {"ip": ["198.51.100.1"]}}, {"number": 4, "restrictions": {"rate": "1/hour", "unrestricted": True}},
        {"number": 5, "restrictions": {"scopes": ["orders:read"], "unrestricted": True}},
        {"number": 6, "restrictions": {"referrer": ["*.shop.example"], "unrestricted": True}}]


class Client:
    """What somebody sends to a proxy."""

    def __init__(self, method="GET", path="/orders?page=2", peer=CLIENT, **fields):
        self.method, self.path, self.peer = method, path, peer
        self.fields = [("Host", "shop.example"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*")]
        for name, values in fields.items():
            self.fields += [(name.replace("_", "-"), value) for value in (values if isinstance(values, list) else [values])]


def ask(gate, method, path, fields):
    with gate.connect() as connection:
        connection.send(f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n")
        return connection.read(body=method != "HEAD")


def known(test, where, value, allowed):
    test.assertLessEqual(set(value), allowed, f"{where}: fields that its reference does not have")
    return value


class Traefik:
    two_keys, names = (403, "two-keys"), ["0000000001", "shop"]

    def __init__(self, test):
        http = known(test, "file", yaml.safe_load((EXAMPLES / "kmtool-traefik.yml").read_text()), {"http"})["http"]
        known(test, "http", http, {"middlewares", "routers", "services"})
        router = known(test, "router", http["routers"]["shop"], {"rule", "service", "middlewares", "entryPoints", "priority", "tls"})
        self.chain = [http["middlewares"][name] for name in router["middlewares"]]
        for each in self.chain:
            test.assertEqual(len(each), 1)
            if "headers" in each:
                known(test, "headers", each["headers"], {"customRequestHeaders", "customResponseHeaders"})
            else:
                known(test, "forwardAuth", each["forwardAuth"], {"address", "trustForwardHeader", "authResponseHeaders", "authResponseHeadersRegex",
                                                                "authRequestHeaders", "addAuthCookiesToResponse", "forwardBody", "maxBodySize", "tls"})
        test.assertIn(router["service"], http["services"])
        known(test, "service", http["services"]["shop"], {"loadBalancer"})

    def forward(self, gate, client):
        """The answer to the client, and the fields that the backend gets (None: it is not asked)."""
        # The entry point takes X-Forwarded-* from nobody, and adds its own.
        fields = [(n, v) for n, v in client.fields if not n.lower().startswith("x-forwarded-") and n.lower() != "x-real-ip"]
        fields += [("X-Forwarded-Host", "shop.example"), ("X-Forwarded-Port", "80"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Server", "edge"), ("X-Real-Ip", client.peer)]
        answer = None
        for each in self.chain:
            if "headers" in each:
                for name, value in each["headers"]["customRequestHeaders"].items():
                    fields = [(n, v) for n, v in fields if n.lower() != name.lower()] + ([(name, value)] if value else [])
                continue
            answer = self.check(gate, each["forwardAuth"], client, fields)
            if not 200 <= answer.status < 300:
                return answer, None
            for name in each["forwardAuth"]["authResponseHeaders"]:
                fields = [(n, v) for n, v in fields if n.lower() != name.lower()]
                if name.lower() in answer.headers:
                    fields.append((name, answer.headers[name.lower()]))
        return answer, fields

    @staticmethod
    def check(gate, auth, client, fields):
        assert auth["trustForwardHeader"] is False
        own = [("X-Forwarded-For", client.peer), ("X-Forwarded-Method", client.method), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "shop.example"), ("X-Forwarded-Uri", client.path)]
        sent = [("Host", auth["address"].split("/")[2])]
        sent += [(n, v) for n, v in fields if n.lower() not in HOP_BY_HOP | {"host"} | {name.lower() for name, _ in own}]
        return ask(gate, "GET", "/" + auth["address"].split("/", 3)[3], sent + own + [("Accept-Encoding", "gzip")])


class Envoy:
    two_keys, names = (401, "format"), ["shop", "0000000001"]

    def __init__(self, test):
        config = yaml.safe_load((EXAMPLES / "kmtool-envoy.yaml").read_text())["static_resources"]
        manager = config["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        test.assertIs(manager["use_remote_address"], True)
        self.removed = set(manager["route_config"]["virtual_hosts"][0]["request_headers_to_remove"])
        names = [each["name"] for each in manager["http_filters"]]
        test.assertEqual(names, ["envoy.filters.http.ext_authz", "envoy.filters.http.router"])
        authz = dict(manager["http_filters"][0]["typed_config"])
        test.assertTrue(authz.pop("@type").endswith(".ext_authz.v3.ExtAuthz"))
        known(test, "ExtAuthz", authz, {"http_service", "failure_mode_allow", "allowed_headers", "status_on_error", "stat_prefix", "clear_route_cache"})
        test.assertIs(authz["failure_mode_allow"], False)
        service = known(test, "HttpService", authz["http_service"], {"server_uri", "path_prefix", "authorization_request", "authorization_response"})
        known(test, "HttpUri", service["server_uri"], {"uri", "cluster", "timeout"})
        clusters = {each["name"]: each for each in config["clusters"]}
        test.assertIn(service["server_uri"]["cluster"], clusters)
        answers = known(test, "AuthorizationResponse", service["authorization_response"], {"allowed_upstream_headers", "allowed_client_headers"})
        self.prefix = service["path_prefix"]
        self.allowed, self.up, self.down = (self.exact(test, each) for each in (authz["allowed_headers"], answers["allowed_upstream_headers"], answers["allowed_client_headers"]))

    @staticmethod
    def exact(test, matcher):
        known(test, "ListStringMatcher", matcher, {"patterns"})
        return {known(test, "StringMatcher", each, {"exact"})["exact"] for each in matcher["patterns"]}

    def forward(self, gate, client):
        joined = {}  # of a repeated field Envoy sends the values in one
        for name, value in client.fields:
            joined[name.lower()] = f"{joined[name.lower()]},{value}" if name.lower() in joined else value
        fields = list(joined.items())
        # use_remote_address: who really connected stands at the end.
        before = [v for n, v in fields if n == "x-forwarded-for"]
        fields = [(n, v) for n, v in fields if n != "x-forwarded-for"] + [("x-forwarded-for", ",".join([*before, client.peer]))]
        sent = [(n, v) for n, v in fields if n in self.allowed | {"host", "authorization"} and n != "x-forwarded-for"]
        sent += [("content-length", "0"), ("x-envoy-internal", "true"), ("x-forwarded-for", ",".join([*before, client.peer, "127.0.0.1"])), ("x-envoy-expected-rq-timeout-ms", "1000")]
        answer = ask(gate, client.method, self.prefix + client.path, sent)
        if answer.status != 200:
            answer.headers = {n: v for n, v in answer.headers.items() if n in self.down | {"content-length"}} | {"x-kmtool-rule": answer.rule}
            return answer, None
        fields = [(n, v) for n, v in fields if n not in self.removed | self.up]
        return answer, fields + [(n, answer.headers[n]) for n in sorted(self.up) if n in answer.headers]


class Proxies(gateway.GatewayCase):
    def through(self, make):
        gate = self.gateway(KEYS, "--trusted-proxy", "127.0.0.1")
        proxy = make(self)

        def denied(client, status, rule):
            answer, backend = proxy.forward(gate, client)
            self.verdict(answer, status, rule)
            self.assertIsNone(backend)
            return answer

        one = key_text(1)
        for client in (Client(X_Api_Key=one), Client("POST", "/a%2Fb/../c?x=%20&y=1", Authorization=f"Bearer {one}", Content_Length="5"), Client("HEAD", X_Api_Key=one),
                       Client("GET", f"/orders?api_key={one}&page=2"), Client("DELETE", "/metrics", X_Api_Key=one), Client("OPTIONS", "/healthz", X_Api_Key=one)):
            answer, backend = proxy.forward(gate, client)
            self.assertEqual(answer.status, 200, f"{client.method} {client.path}: {answer}")
            got = {n.lower(): v for n, v in backend}
            self.assertEqual([got.get(f"x-kmtool-{n}") for n in ("id", "app", "environment")], ["0000000001", "shop", "production"])
            self.assertNotIn("x-api-key", got)
        # A client that names itself, and an address that is not his.
        answer, backend = proxy.forward(gate, Client(X_Api_Key=one, X_Kmtool_Id="admin", X_Kmtool_App="admin"))
        self.assertEqual([v for n, v in backend if n.lower() in ("x-kmtool-id", "x-kmtool-app")], proxy.names)
        denied(Client(peer="198.51.100.9", X_Api_Key=one, X_Forwarded_For=CLIENT), 403, "ip")
        denied(Client(peer="198.51.100.9", X_Api_Key=one, X_Real_Ip=CLIENT, Forwarded=f"for={CLIENT}"), 403, "ip")
        denied(Client(X_Api_Key=key_text(3)), 403, "ip")
        denied(Client(X_Api_Key=key_text(2)), 403, "revoked")
        denied(Client(), 401, "missing")
        denied(Client(path="/metrics"), 401, "missing")
        self.assertIn("www-authenticate", denied(Client(X_Api_Key=key_text(99)), 401, "unknown").headers)
        denied(Client(X_Api_Key=[one, key_text(3)]), *proxy.two_keys)
        denied(Client(X_Original_URI=f"/?api_key={one}"), 401, "missing")
        denied(Client(X_Api_Key=key_text(5), X_Kmtool_Scope="orders:read"), 403, "scope")  # not the client's to choose
        denied(Client(X_Api_Key=key_text(6)), 403, "referrer")
        self.assertEqual(proxy.forward(gate, Client(X_Api_Key=key_text(6), Referer="https://www.shop.example/cart"))[0].status, 200)
        self.assertEqual(proxy.forward(gate, Client(X_Api_Key=key_text(4)))[0].status, 200)
        self.assertIn("retry-after", denied(Client(X_Api_Key=key_text(4)), 429, "rate").headers)

    def test_traefik(self):
        self.through(Traefik)

    def test_envoy(self):
        self.through(Envoy)


if __name__ == "__main__":
    harness.main()
