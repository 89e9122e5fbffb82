"""Whether the model hub can be reached from this host: one small request, bounded in time."""

import threading
import urllib.error
import urllib.request

HUB = "https://huggingface.co"
HUB_S = 3.0
REFUSED = (403, 407)  # by a proxy that lets nothing through


def unreachable(url: str, *, refused: bool = False) -> str | None:
    """Why `url` does not answer within HUB_S seconds; None when it does. `refused` counts an answer
    of REFUSED, or of 500 and above, as none. The request runs in a thread, because no time limit
    holds for the lookup of a name."""
    outcome: list[str | None] = [f"does not answer within {HUB_S:g} s"]

    def ask() -> None:
        try:
            question = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(question, timeout=HUB_S).close()
            outcome[0] = None
        except urllib.error.HTTPError as error:
            bad = refused and (error.code in REFUSED or error.code >= 500)
            outcome[0] = f"answers {error.code}" if bad else None
            error.close()
        except (OSError, ValueError) as error:
            outcome[0] = f"cannot be reached ({getattr(error, 'reason', error)})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_S + 1)
    return outcome[0]
