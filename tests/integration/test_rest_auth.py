"""Who may do what at the REST door: tokens, users, roles, and what is never believed."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import jwt
import pytest
from httpx2 import AsyncClient, Response

from perstack.domain.users import ACCESS_S, Role, User
from perstack.serving.rest.rules import Rules
from perstack.serving.rest.signing import ALGORITHM, AUDIENCE, ISSUER, Signer
from tests.fakes.consensus import SetClock
from tests.fakes.rest_door import SECRET, RestDoor, rest, rest_door

pytestmark = pytest.mark.anyio

SERVER_TOKEN = "t" * 43
PASSWORD = "correct horse battery"
OPEN = {
    ("post", "/api/v1/auth/login"),
    ("post", "/api/v1/auth/refresh"),
    ("get", "/api/v1/system/health/live"),
    ("get", "/api/v1/system/health/ready"),
    ("get", "/api/v1"),
}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncGenerator[RestDoor]:
    async with rest_door(tmp_path, server_token=SERVER_TOKEN) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def add(door: RestDoor, name: str, role: Role = "developer") -> User:
    return await door.users.add(
        email=f"{name}@example.org", username=name, password=PASSWORD, role=role
    )


async def login(client: AsyncClient, name: str, password: str = PASSWORD) -> Response:
    body = {"email": f"{name}@example.org", "password": password}
    return await client.post("/api/v1/auth/login", json=body)


async def tokens(client: AsyncClient, name: str) -> tuple[str, str]:
    told = (await login(client, name)).json()["tokens"]
    return told["accessToken"], told["refreshToken"]


async def test_agentstack_row_147_every_route_but_a_few_refuses_who_says_not_who_they_are(
    door: RestDoor,
) -> None:
    description = (await door.client.get("/openapi.json")).json()
    let_in: list[str] = []
    asked = 0
    for path, operations in description["paths"].items():
        for method in operations:
            if (method, path) in OPEN or path == "/events":
                continue
            asked += 1
            place = re.sub(r"\{[^}]*\}", "00000000-0000-4000-8000-000000000000", path)
            answered = await door.client.request(method.upper(), place)
            if answered.status_code != 401:
                let_in.append(f"{method} {path}: {answered.status_code}")
    assert asked > 10
    assert let_in == []


async def test_the_event_stream_refuses_too_who_says_not_who_they_are(door: RestDoor) -> None:
    answered = await door.client.get("/events")
    assert answered.status_code == 401
    assert answered.headers["www-authenticate"] == "Bearer"


async def test_the_servers_own_token_is_an_admins_in_either_header(door: RestDoor) -> None:
    told = (await door.client.get("/api/v1/auth/me", headers=bearer(SERVER_TOKEN))).json()
    assert (told["role"], told["user"], told["permissions"]) == ("admin", None, ["*"])
    by_key = await door.client.get("/api/v1/agents", headers={"x-api-key": SERVER_TOKEN})
    assert by_key.status_code == 200


async def test_without_a_token_and_with_a_wrong_one_the_seeds_words_are_said(
    door: RestDoor,
) -> None:
    missing = await door.client.get("/api/v1/agents")
    wrong = await door.client.get("/api/v1/agents", headers=bearer("x" * 43))
    in_address = await door.client.get(f"/api/v1/agents?token={SERVER_TOKEN}")
    assert missing.json()["error"] == "No authentication token provided"
    assert missing.json()["code"] == "denied.not_signed_in"
    assert (wrong.status_code, wrong.json()["error"]) == (401, "Invalid token")
    assert in_address.status_code == 401


async def test_agentstack_row_146_a_developer_is_no_admin_and_an_expired_token_says_so(
    door: RestDoor,
) -> None:
    user = await add(door, "dev")
    access, _ = await tokens(door.client, "dev")
    users = await door.client.get("/api/v1/auth/users", headers=bearer(access))
    assert (users.status_code, users.json()["error"]) == (403, "Insufficient permissions")
    clock = SetClock(int((time.time() - ACCESS_S - 60) * 1_000))
    old = Signer(SECRET, clock=clock).sign(user)
    expired = await door.client.get("/api/v1/agents", headers=bearer(old))
    assert (expired.status_code, expired.json()["error"]) == (401, "Token expired")


async def test_agentstack_row_148_whoever_registers_as_an_admin_is_a_developer(
    door: RestDoor,
) -> None:
    body = {
        "email": "Eve@Example.org",
        "username": "eve",
        "password": PASSWORD,
        "role": "admin",
    }
    refused = await door.client.post("/api/v1/auth/register", json=body)
    assert refused.status_code == 401
    made = await door.client.post("/api/v1/auth/register", json=body, headers=bearer(SERVER_TOKEN))
    assert made.status_code == 201
    assert made.json()["user"]["role"] == "developer"
    assert made.json()["user"]["email"] == "eve@example.org"
    assert "password" not in made.text
    again = await door.client.post("/api/v1/auth/register", json=body, headers=bearer(SERVER_TOKEN))
    assert again.status_code == 409


async def test_there_is_no_user_that_nobody_made(door: RestDoor) -> None:
    for email, password in (("admin@aistack.local", "admin123"), ("admin@x.org", "admin123")):
        body = {"email": email, "password": password}
        answered = await door.client.post("/api/v1/auth/login", json=body)
        assert (answered.status_code, answered.json()["error"]) == (401, "Invalid credentials")
    assert await door.users.count() == 0


async def test_a_viewer_looks_and_changes_nothing(door: RestDoor) -> None:
    await add(door, "vic", "viewer")
    access, _ = await tokens(door.client, "vic")
    assert (await door.client.get("/api/v1/agents", headers=bearer(access))).status_code == 200
    answered = await door.client.post(
        "/api/v1/agents", json={"type": "coder"}, headers=bearer(access)
    )
    assert answered.status_code == 403


async def test_signing_in_tells_who_it_is_and_for_how_long(door: RestDoor) -> None:
    await add(door, "ann", "admin")
    told = (await login(door.client, "ann")).json()
    assert told["user"]["username"] == "ann"
    assert told["user"]["lastLoginAt"].endswith("Z")
    assert told["tokens"]["expiresIn"] == 900
    claims = jwt.decode(told["tokens"]["accessToken"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert {"iss", "aud", "sub", "jti", "userId", "email", "username", "role"} <= set(claims)
    me = await door.client.get("/api/v1/auth/me", headers=bearer(told["tokens"]["accessToken"]))
    assert me.json()["user"]["email"] == "ann@example.org"


def forged(user: User, **changed: object) -> dict[str, object]:
    now = int(time.time())
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user.id,
        "iat": now,
        "exp": now + 600,
        "jti": "1",
        "epoch": 0,
        **changed,
    }


async def test_tokens_that_were_not_signed_here_for_here_are_not_believed(
    door: RestDoor,
) -> None:
    user = await add(door, "ann", "admin")

    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(forged(user))}."
    other_key = jwt.encode(forged(user), b"k" * 32, algorithm=ALGORITHM)
    longer = jwt.encode(forged(user), SECRET * 2, algorithm="HS512")
    fields = [{"aud": "another"}, {"iss": "another"}, {"exp": 1}, {"epoch": 7}, {"epoch": "0"}]
    made = [jwt.encode(forged(user, **one), SECRET, algorithm=ALGORITHM) for one in fields]
    without = {name: value for name, value in forged(user).items() if name != "exp"}
    endless = jwt.encode(without, SECRET, algorithm=ALGORITHM)
    for token in (unsigned, other_key, longer, endless, *made, "a.b.c", "x" * 5_000):
        answered = await door.client.get("/api/v1/auth/me", headers=bearer(token))
        assert answered.status_code == 401, token
    good = jwt.encode(forged(user), SECRET, algorithm=ALGORITHM)
    assert (await door.client.get("/api/v1/auth/me", headers=bearer(good))).status_code == 200


async def test_a_refresh_token_is_taken_once_and_its_second_use_ends_the_family(
    door: RestDoor,
) -> None:
    await add(door, "ann")
    _, first = await tokens(door.client, "ann")

    async def renew(token: str) -> Response:
        return await door.client.post("/api/v1/auth/refresh", json={"refreshToken": token})

    renewed = await renew(first)
    assert renewed.status_code == 200
    second = renewed.json()["tokens"]["refreshToken"]
    assert (await renew(first)).status_code == 401
    assert (await renew(second)).status_code == 401
    assert (await renew("nothing")).status_code == 401
    _, another = await tokens(door.client, "ann")
    assert (await renew(another)).status_code == 200


async def test_only_digests_of_refresh_tokens_and_hashes_of_passwords_are_written(
    door: RestDoor, tmp_path: Path
) -> None:
    await add(door, "ann")
    access, refresh = await tokens(door.client, "ann")
    written = b"".join(
        file.read_bytes() for file in (tmp_path / "perstack").rglob("*") if file.is_file()
    )
    assert b"$argon2id$" in written
    for secret in (PASSWORD, access, refresh, SERVER_TOKEN):
        assert secret.encode() not in written


async def test_signing_out_ends_every_token_of_the_user(door: RestDoor) -> None:
    await add(door, "ann")
    first, refresh = await tokens(door.client, "ann")
    second, _ = await tokens(door.client, "ann")
    out = await door.client.post("/api/v1/auth/logout", headers=bearer(first))
    assert out.status_code == 200
    for token in (first, second):
        answered = await door.client.get("/api/v1/auth/me", headers=bearer(token))
        assert (answered.status_code, answered.json()["error"]) == (401, "Invalid token")
    renewed = await door.client.post("/api/v1/auth/refresh", json={"refreshToken": refresh})
    assert renewed.status_code == 401
    assert (await login(door.client, "ann")).status_code == 200


async def test_a_changed_password_ends_what_was_signed_before(door: RestDoor) -> None:
    await add(door, "ann")
    access, refresh = await tokens(door.client, "ann")
    wrong = await door.client.post(
        "/api/v1/auth/change-password",
        json={"oldPassword": "another one", "newPassword": "a new password"},
        headers=bearer(access),
    )
    assert wrong.status_code == 400
    done = await door.client.post(
        "/api/v1/auth/change-password",
        json={"oldPassword": PASSWORD, "newPassword": "a new password"},
        headers=bearer(access),
    )
    assert done.status_code == 200
    assert (await door.client.get("/api/v1/auth/me", headers=bearer(access))).status_code == 401
    renewed = await door.client.post("/api/v1/auth/refresh", json={"refreshToken": refresh})
    assert renewed.status_code == 401
    assert (await login(door.client, "ann")).status_code == 401
    assert (await login(door.client, "ann", "a new password")).status_code == 200


async def test_roles_count_at_once_and_the_last_admin_stays(door: RestDoor) -> None:
    ann, bob = await add(door, "ann", "admin"), await add(door, "bob")
    access, _ = await tokens(door.client, "bob")
    admin = bearer(SERVER_TOKEN)
    assert (await door.client.get("/api/v1/auth/users", headers=bearer(access))).status_code == 403
    for user_id in (ann.id,):
        demoted = await door.client.put(
            f"/api/v1/auth/users/{user_id}/role", json={"role": "viewer"}, headers=admin
        )
        deleted = await door.client.delete(f"/api/v1/auth/users/{user_id}", headers=admin)
        assert (demoted.status_code, deleted.status_code) == (409, 409)
    raised = await door.client.put(
        f"/api/v1/auth/users/{bob.id}/role", json={"role": "admin"}, headers=admin
    )
    assert raised.json()["user"]["role"] == "admin"
    listed = await door.client.get("/api/v1/auth/users", headers=bearer(access))
    assert [user["username"] for user in listed.json()["users"]] == ["ann", "bob"]
    assert (
        await door.client.delete(f"/api/v1/auth/users/{bob.id}", headers=admin)
    ).status_code == 200
    gone = await door.client.get("/api/v1/agents", headers=bearer(access))
    assert (gone.status_code, gone.json()["error"]) == (401, "User not found")
    missing = await door.client.delete(f"/api/v1/auth/users/{bob.id}", headers=admin)
    assert (missing.status_code, missing.json()["error"]) == (404, "User not found")


async def test_guessing_a_password_is_slowed_down_for_the_account(door: RestDoor) -> None:
    await add(door, "ann")
    statuses = [
        (await login(door.client, "ann", f"guess number {number}")).status_code
        for number in range(11)
    ]
    assert statuses == [401] * 10 + [429]
    slowed = await login(door.client, "ann")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) >= 1
    await add(door, "bob")
    assert (await login(door.client, "bob")).status_code == 200


async def test_who_has_a_token_cannot_guess_the_password_with_it(door: RestDoor) -> None:
    await add(door, "ann")
    access, _ = await tokens(door.client, "ann")
    statuses = [
        (
            await door.client.post(
                "/api/v1/auth/change-password",
                json={"oldPassword": f"guess {number}", "newPassword": "another long one"},
                headers=bearer(access),
            )
        ).status_code
        for number in range(11)
    ]
    assert statuses == [400] * 10 + [429]


async def test_where_anybody_may_register_nobody_registers_without_end(tmp_path: Path) -> None:
    async with rest_door(
        tmp_path, server_token=SERVER_TOKEN, rules=Rules(open_registration=True)
    ) as door:
        statuses = [
            (
                await door.client.post(
                    "/api/v1/auth/register",
                    json={"email": f"{n}@example.org", "username": f"n{n}", "password": PASSWORD},
                )
            ).status_code
            for n in range(11)
        ]
    assert statuses == [201] * 10 + [429]


async def test_signing_in_again_and_again_is_no_guessing(door: RestDoor) -> None:
    await add(door, "ann")
    assert {(await login(door.client, "ann")).status_code for _ in range(12)} == {200}


async def test_who_asks_with_the_servers_token_has_no_password_to_change(
    door: RestDoor,
) -> None:
    answered = await door.client.post("/api/v1/auth/logout", headers=bearer(SERVER_TOKEN))
    assert (answered.status_code, answered.json()["code"]) == (400, "usage")


async def test_users_outlive_the_server(tmp_path: Path) -> None:
    async with rest_door(tmp_path, server_token=SERVER_TOKEN) as first:
        await add(first, "ann")
        _, refresh = await tokens(first.client, "ann")
    async with rest_door(tmp_path, server_token=SERVER_TOKEN) as second:
        renewed = await second.client.post("/api/v1/auth/refresh", json={"refreshToken": refresh})
    assert renewed.status_code == 200


async def test_the_root_and_its_areas_need_no_token(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        told = (await client.get("/api/v1")).json()["data"]
    assert told["name"] == "Perstack API"
    assert told["endpoints"]["agents"] == "/api/v1/agents"
