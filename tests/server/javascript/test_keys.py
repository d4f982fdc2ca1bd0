"""A server that asks who its clients are, and the JavaScript client: keys of every kind, and tokens."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.server.javascript.conftest import Node
from tests.server.keys import KEYS, openssh, pem, public_text

from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def strict_server(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    keys = "\n".join(f'{name} = "{public_text(name)}"' for name in KEYS)
    users = tmp_path / "authorized_users.toml"
    users.touch(0o600)
    users.write_text(f'[users.me.keys]\n{keys}\n[users.me.tokens]\nci = "{token_hash("secret")}"\n')
    settings = ServerSettings(port=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


def formats(name: str) -> list[str]:
    """A key as ssh-keygen and as openssl write it."""
    text = KEYS[name].encode()
    load = serialization.load_ssh_private_key if b"OPENSSH" in text else serialization.load_pem_private_key
    key = load(text, password=None)
    assert isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    return [KEYS[name], openssh(key), pem(key)]


async def test_every_kind_of_key_comes_in(strict_server: Server, javascript: Node) -> None:
    body = """
        const who = [];
        for (const text of given.keys) {
          for (const key of [text, new TextEncoder().encode(text)]) {
            for (let attempt = 0; attempt < 3; attempt++) { // the numbers of ECDSA differ in length
              const client = await Client.connect(url);
              await client.authenticate('me', await PrivateKey.parse(key));
              who.push(await client.listProcesses());
              await client.close();
            }
          }
        }
        return who;
    """
    keys = [text for name in KEYS for text in formats(name)]
    assert await javascript.run(strict_server.url, body, keys=keys) == [[]] * len(keys) * 6


async def test_a_token_comes_in_and_others_do_not(strict_server: Server, javascript: Node) -> None:
    body = """
        const session = async (...who) => {
          const client = await Client.connect(url);
          const answer = await told(client.authenticate(...who).then(() => client.ping()));
          await client.close();
          return answer;
        };
        return await Promise.all([
          session({ token: 'secret' }),
          session({ token: 'wrong' }),
          session('nobody'),
          session('me'),
          session('me', await PrivateKey.parse(given.stranger)),
        ]);
    """
    stranger = openssh(ed25519.Ed25519PrivateKey.generate())
    answers = await javascript.run(strict_server.url, body, stranger=stranger)
    assert [answer[:2] for answer in answers[1:]] == [
        ["Refused", "refused"],
        ["Refused", "refused"],
        ["ClientError", "key-needed"],
        ["Refused", "refused"],
    ]
    assert answers[0][0] == "value"
    assert answers[4][2] == "Signature verification failed"


async def test_keys_that_are_of_no_use_are_told(javascript: Node) -> None:
    body = "return await Promise.all(given.keys.map((key) => told(PrivateKey.parse(key))));"
    ours = ed25519.Ed25519PrivateKey.generate()
    pkcs8, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    aes = base64.b64encode(b"openssh-key-v1\0" + (10).to_bytes(4) + b"aes256-ctr").decode()
    causes = {
        "no key": "the text holds no private key",
        openssh(ours)[:180] + "\n-----END OPENSSH PRIVATE KEY-----": "the key ends too early",
        "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----": "the key cannot be read",
        openssh(rsa.generate_private_key(65537, 1024)): "the RSA key has 1024 bits, fewer than 2048",
        pem(ec.generate_private_key(ec.SECP521R1())): "the key is none of RSA, Ed25519, ECDSA P-256 and ECDSA P-384",
        openssh(ec.generate_private_key(ec.SECP521R1())): "none of RSA",
        ours.private_bytes(serialization.Encoding.PEM, pkcs8, locked).decode(): "passphrase",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{aes}\n-----END OPENSSH PRIVATE KEY-----": "passphrase",
    }
    answers = await javascript.run("", body, keys=list(causes))
    assert [answer[:2] for answer in answers] == [["ClientError", "bad-key"]] * len(causes)
    assert [answer[2] for answer, cause in zip(answers, causes.values(), strict=True) if cause not in answer[2]] == []
