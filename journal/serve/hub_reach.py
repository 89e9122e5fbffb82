"""Whether the model hub can be reached from this host: one small request, bounded in time."""

import ssl
import threading
import urllib.error
import urllib.request

HUB = "https://huggingface.co"
HUB_S = 3.0
TRUE = {"1", "ON", "YES", "TRUE"}  # of variables such as HF_HUB_OFFLINE
REFUSED = (403, 407)  # by a proxy that lets nothing through


def unreachable(url: str, *, strict: bool = False) -> str | None:
    """Why `url` cannot be reached; None when it can. `strict` also counts what an engine may stand
    all the same: no answer within HUB_S seconds, a certificate that is not trusted here, an answer
    of REFUSED or of 500 and above. The request runs in a thread, because no time limit holds for
    the lookup of a name."""
    outcome: list[str | None] = [f"does not answer within {HUB_S:g} s" if strict else None]

    def ask() -> None:
        try:
            question = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(question, timeout=HUB_S).close()
            outcome[0] = None
        except urllib.error.HTTPError as error:
            bad = strict and (error.code in REFUSED or error.code >= 500)
            outcome[0] = f"answers {error.code}" if bad else None
            error.close()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if strict or not isinstance(reason, ssl.SSLError | TimeoutError):
                outcome[0] = f"cannot be reached ({reason})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_S + 1)
    return outcome[0]
