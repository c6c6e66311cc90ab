"""Talks to the Hub, in a process: ``python -m reference_trainers.hub.client``.

The Hub's client waits for ever on a server that hangs, and retries for as long as it
likes; a process can be ended, a thread cannot. It reads one job, a line of JSON, from
stdin, and writes one answer, a line of JSON, to stdout. It ends when stdin does: the
run that started it is gone then. The token comes by the environment, which no other
user of the machine sees, and goes into no answer.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_token,
)
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from reference_trainers.errors import sentence_of
from reference_trainers.results import REPORT_FILE

NO_TOKEN = "there is no token. Log in by `hf auth login`, or give --hub_token."
TOKEN_OF = os.environ.get("TOKEN_OF", "`hf auth login`")  # set by `sharing.Client`
MAY_PASS = {408, 429, *range(500, 600)}  # statuses that another try may not meet


class Refused(Exception):
    """What no later try would change: it is the user's to mend."""


def main() -> None:
    """One job, one answer."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    json.dump(answer_to(job), sys.stdout)


def answer_to(job: Mapping[str, Any]) -> dict[str, Any]:
    """What came of a job; where nothing did, a sentence as `refused` or `failed`."""
    try:
        if "files" in job:
            return upload(**job)
        return check(**job)
    except Refused as error:
        return {"refused": str(error)}
    except LocalTokenNotFoundError:
        return {"refused": NO_TOKEN}
    except UnicodeEncodeError:  # httpx, of a header
        return {"refused": "the token has characters that no token has."}
    except OfflineModeIsEnabled:
        return {"refused": "HF_HUB_OFFLINE is set; unset it."}
    except HFValidationError as error:
        return {"refused": sentence_of(error)}
    except HfHubHTTPError as error:
        status = error.response.status_code
        kind = "failed" if status in MAY_PASS else "refused"
        return {kind: said_by_the_hub(status, error)}
    except Exception as error:  # no network, a connection reset, a file gone ...
        chain = [error, *([error.__cause__] if error.__cause__ else [])]
        told = dict.fromkeys(map(sentence_of, chain))  # each once; the cause says why
        return {"failed": clean(f"{ENDPOINT}: {' '.join(told)}")}


def check(repository: str, private: bool | None) -> dict[str, Any]:
    """Makes the repository, if the token may write there; its whole name."""
    hub = HfApi()
    account = hub.whoami()
    owner, _, name = repository.rpartition("/")
    owner = owner or account["name"]
    role = account.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise Refused("the token may only read; give one that may write.")
    owners = [account["name"], *(entry["name"] for entry in account.get("orgs", ()))]
    if owner not in owners:
        raise Refused(
            f"{owner} is not yours; you may write to {', '.join(owners)}. "
            "See --hub_model_id."
        )
    made = hub.create_repo(f"{owner}/{name}", private=private, exist_ok=True)
    return {"repository": f"{owner}/{name}", "url": str(made)}


def upload(
    repository: str,
    private: bool | None,
    files: Mapping[str, str],
    texts: Mapping[str, str],
    message: str,
) -> dict[str, Any]:
    """One commit of all files; none where the repository has them as they are.

    ``files`` are paths by the names in the repository, ``texts`` contents: the report,
    of a result, which takes the place of the one before it.
    """
    made = check(repository, private)
    operations: list[Any] = [
        CommitOperationAdd(name, path) for name, path in files.items()
    ]
    operations += [CommitOperationAdd(n, text.encode()) for n, text in texts.items()]
    gone = superseded(made["repository"], {*files, *texts}) if texts else ()
    operations += [CommitOperationDelete(name) for name in gone]
    commit = HfApi().create_commit(
        made["repository"], operations, commit_message=message
    )
    return {**made, "commit": commit.oid}


def superseded(repository: str, names: Collection[str]) -> Iterator[str]:
    """What the result that is there left, and the one that is pushed does not have."""
    hub = HfApi()
    there = hub.list_repo_files(repository)
    if REPORT_FILE not in there:
        return
    with open(hub.hf_hub_download(repository, REPORT_FILE), encoding="utf-8") as file:
        listed = json.load(file).get("files", [])
    yield from ({*listed} & {*there}) - {*names}


def said_by_the_hub(status: int, error: HfHubHTTPError) -> str:
    """A sentence on an answer of the Hub that is an error."""
    said = clean((error.server_message or "").strip().rstrip("."))
    known = {
        401: f"the Hub does not know the token of {TOKEN_OF}; give another",
        403: "the token may not write there",
    }
    what = known.get(status, f"the Hub answered {status}")
    return f"{what} ({said})." if said else f"{what}."


def clean(text: str) -> str:
    """The text without the token, wherever a library may have put it."""
    token = get_token()
    return text.replace(token, "hf_***") if token else text


def _end_with_the_run() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
