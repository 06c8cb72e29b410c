"""Which column of a file is meant: names of the field that are taken without asking, and those the user gives."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ur4rec.columns import DESCRIPTION, EVENT, GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from ur4rec.data.errors import DataError

SYNONYMS = {
    USER_ID: (
        "userid user uid reviewerid visitorid customerid customer custid clientid householdkey accountid memberid "
        "profileid personid playerid viewerid buyerid msno reviewuserid",
        "username reviewername profilename reviewprofilename",
        "sessionid session usersession usersessionid visitid",
    ),
    ITEM_ID: (
        "itemid item iid movieid filmid parentasin productid productproductid businessid bookid videoid trackid "
        "songid song venueid newsid articleid clickarticleid gameid appid recipeid animeid mangaid beerid "
        "beerbeerid courseid poiid placeid gmapid locationid goodsid sku skuid workid work listingid jobid "
        "podcastid showid hotelid restaurantid contentid stockcode adid aid",
        "asin isbn isbn13 artistid albumid",
        "artist artistname trackname",
    ),
    TIMESTAMP: (
        "timestamp unixtimestamp unixreviewtime unixtime ts timems timestampms epoch",
        "time datetime eventtime eventtimestamp clicktime clicktimestamp impressiontime checkintime utctime "
        "utctimestamp createdat createdtime dateadded lastwatchdt watchedat playedat listenedat ratedat "
        "purchasedat",
        "reviewtime reviewdate date day tdat eventdate orderdate purchasedate invoicedate transactiondate "
        "transactiondt transactiontime applicationdate",
        "updatedat dateupdated lastupdated mylastupdated readat startedat",
    ),
    RATING: ("rating ratings overall stars score rate userrating bookrating reviewscore reviewoverall reviewrating",),
    EVENT: (
        "event eventtype eventname behavior behaviour behaviortype behaviourtype action actiontype actionname "
        "interactiontype interaction activitytype activity",
        "type",
    ),
    TITLE: (
        "title itemtitle movietitle filmtitle booktitle producttitle videotitle newstitle articletitle gametitle "
        "itemname moviename productname productdisplayname prodname bookname songname businessname appname "
        "beername animename",
        "name trackname artistname caption headline",
    ),
    GENRES: (
        "genres genre",
        "categories category class",
        "tags topics topic maincategory subcategory",
    ),
    YEAR: ("year releaseyear publicationyear yearofpublication originalpublicationyear publishyear",),
    DESCRIPTION: (
        "description itemdescription moviedescription productdescription",
        "desc detaildesc overview plot synopsis abstract",
    ),
}
"""Role → names without case, blanks and signs. A later group counts where no name of the groups before it is there."""
ROW_NUMBER = "id"
"""Numbers the rows of interactions, and the items of an item table."""
NOT_NEAR = ("no name comes near", "no name comes near (without times, a column that numbers the rows in order does)")
CUTOFF = 0.75
MOST_LISTED = 30


def match_columns(
    found: Sequence[str], required: Sequence[str], optional: Sequence[str], given: Mapping[str, str]
) -> dict[str, str]:
    """Return role → column of the file, for each required role and the optional ones that are there.

    A name that the user gives comes first, then the role's own name, then the names of the field. An item table may
    call its ids otherwise than the interactions do: there, a given `item_id` that it lacks does not count.

    Args:
        found: Columns of the file; of one without names, their positions from 1.
        required: Roles without which the file cannot be read.
        optional: Roles that may be absent; one with two candidates is absent.
        given: Role → column, as the user says; roles of other files are passed over.

    Raises:
        DataError: A required role has no column or several; has a hint for each. It does not name the file.

    >>> match_columns(["userId", "movieId", "rating"], ["user_id", "item_id"], ["rating"], {})
    {'user_id': 'userId', 'item_id': 'movieId', 'rating': 'rating'}
    """
    is_item_table = USER_ID not in required
    found = [name for name in found if name.strip()]  # one without a name is never meant
    candidates = {role: _find(role, found, given, is_item_table) for role in (*required, *optional)}
    unclear = {role: names for role, names in candidates.items() if role in required and len(names) != 1}
    if unclear:
        raise DataError(_explain(unclear, found, candidates))
    matched = {role: names[0] for role, names in candidates.items() if len(names) == 1}
    if shared := [name for name, count in Counter(matched.values()).items() if count > 1]:
        roles = " and ".join(role for role, name in matched.items() if name == shared[0])
        raise DataError(f"column {shared[0]!r} would be {roles}; the setting columns says which is which")
    return matched


def _find(role: str, found: Sequence[str], given: Mapping[str, str], is_item_table: bool) -> list[str]:
    """Return the columns that may be meant by a role, best known first; one is certain."""
    wished = given.get(role, "")
    if wished and wished in found:
        return [wished]
    if wished and not (is_item_table and role == ITEM_ID):
        raise DataError(
            f"no column {wished!r}, which the setting columns names for {role}, among {list_names(found)}"
            + _suggest(_nearest([wished], found))
        )
    if role in found:
        return [role]
    groups = [set(group.split()) for group in SYNONYMS[role]]
    if is_item_table and role == ITEM_ID:
        groups.append({ROW_NUMBER})
    for group in groups:
        if names := [name for name in dict.fromkeys(found) if fold_name(name) in group]:
            return names
    return []


def fold_name(name: str) -> str:
    """Return a name without case, blanks and signs.

    >>> fold_name(" User-ID"), fold_name("parent_asin")
    ('userid', 'parentasin')
    """
    return re.sub(r"[\W_]+", "", name).lower()


def list_names(names: Sequence[str]) -> str:
    """Return names in quotes, the first ones of many."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(map(repr, names[:MOST_LISTED])) + more


def _explain(unclear: Mapping[str, list[str]], found: Sequence[str], candidates: Mapping[str, list[str]]) -> str:
    missing = [role for role, names in unclear.items() if not names]
    told = f"no column {', '.join(map(repr, missing))} among {list_names(found)}; " if missing else ""
    if not any(candidates.values()):
        names = ",".join(f"{role}=NAME" for role in unclear)
        return f"{told}say which is which: --set columns={names}, by names or by positions from 1"
    taken = {name for names in candidates.values() for name in names}
    free = [name for name in found if name not in taken]
    likely = {
        role: names or _nearest([role, *" ".join(SYNONYMS[role]).split()], free) for role, names in unclear.items()
    }
    hints = [f"{role}: " + (_ask(names) if names else NOT_NEAR[role == TIMESTAMP]) for role, names in likely.items()]
    wish = ",".join(f"{role}={names[0] if names else 'NAME'}" for role, names in likely.items())
    return f"{told}{'; '.join(hints)}; say which: --set columns={wish}"


def _ask(names: Sequence[str]) -> str:
    return f"is it {' or '.join(map(repr, names))}?"


def _suggest(names: Sequence[str]) -> str:
    return f"; {_ask(names)}" if names else ""


def _nearest(names: Sequence[str], found: Sequence[str]) -> list[str]:
    """Return the one column whose name is nearest to one of the names, if any is near."""
    wanted = [fold_name(name) for name in names]
    scores = {
        name: max(difflib.SequenceMatcher(None, fold_name(name), other).ratio() for other in wanted) for name in found
    }
    best = max(scores, key=scores.__getitem__, default="")
    return [best] if scores and scores[best] >= CUTOFF else []
