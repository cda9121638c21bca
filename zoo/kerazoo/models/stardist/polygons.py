"""Area that two polygons share, to the half pixel what the Clipper library says, which stardist asks.

The vertices are whole numbers, and so are the points where edges cross, after rounding: the shared area depends on
where and in which order a scan line (Vatti 1992) meets the edges, and with it which of two candidates survives. The
scan here follows the rules of Clipper 6.4.2 for order and rounding, but keeps no polygons: of every ring that grows,
only its two ends and its area so far. Clipper takes rings apart afterwards that touch themselves; that is left out, and
differs by a few pixels in polygons that are hardly larger.
"""

from __future__ import annotations

import numba
import numpy as np

BOTTOM_X, BOTTOM_Y, TOP_X, TOP_Y = 0, 1, 2, 3
"""Ends of an edge; y grows downwards, the scan line rises from the greatest y to the least."""
X, Y = 4, 5
"""The edge's first vertex; in the scan, where the edge meets the scan line."""
NEXT, PREVIOUS = 6, 7
"""Neighbours around the polygon."""
ABOVE = 8
"""The edge that follows upwards in the same bound, or none."""
RIGHT, LEFT = 9, 10
"""Neighbours along the scan line."""
SIDE = 11
"""Whether the edge feeds the front (0) or the back (1) of its ring."""
TURN = 12
"""By how much the edge changes the winding number, 1 or -1."""
OWN, OTHER = 13, 14
"""Winding number of the edge's own polygon and of the other one, next to the edge."""
RING = 15
"""The ring that the edge feeds, or none."""
POLYGON = 16
"""Polygon that the edge belongs to, 0 or 1."""
EDGE_FIELDS = 17

FRONT_X, FRONT_Y, BACK_X, BACK_Y, AREA = 0, 1, 2, 3, 4
RING_FIELDS = 5

MINIMUM_Y, LEFT_BOUND, RIGHT_BOUND = 0, 1, 2
"""Fields of a local minimum: where two bounds of edges begin to rise."""

FIRST, RINGS, WAITING, FAILED = 0, 1, 2, 3
"""Fields of the state: first edge on the scan line, number of rings, of horizontal edges that wait, and a failure."""

NONE = -1
HORIZONTAL = -1e40
"""Slope of horizontal edges."""

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@compiled
def make_scratch(rays):
    """Memory for `intersection_area` of polygons with at most so many vertices; one per thread."""
    edges = np.empty((2 * rays, EDGE_FIELDS), np.int64)
    slopes = np.empty(2 * rays, np.float64)
    minima = np.empty((2 * rays, 3), np.int64)
    rings = np.empty((64 * rays, RING_FIELDS), np.int64)
    stack = np.empty(4 * rays, np.int64)
    order = np.empty((2, 2 * rays), np.int64)
    crossings = np.empty((4 * rays * rays, 4), np.int64)
    levels = np.empty(2 * rays, np.int64)
    state = np.empty(4, np.int64)
    return edges, slopes, minima, rings, stack, order, crossings, levels, state


@compiled
def twice_area(xs, ys):
    """Twice the area of a polygon of whole numbers, summed up in float32 as the official package does."""
    total = np.float32(0)
    n = len(xs)
    for i in range(n):
        k = i + 1 if i + 1 < n else 0
        total += np.float32(xs[i] * ys[k] - ys[i] * xs[k])
    return abs(total)


@compiled
def intersection_area(a_x, a_y, b_x, b_y, scratch):
    """Area of the intersection of two polygons.

    Parameters
    ----------
    a_x, a_y, b_x, b_y
        Vertices, int64 (vertex,).
    scratch
        What `make_scratch` returns.

    Returns
    -------
    float
        A multiple of a half.
    """
    edges, slopes, minima, rings, stack, order, crossings, levels, state = scratch
    first_edges, first_minima = _add_polygon(a_x, a_y, 0, 0, edges, slopes, minima, 0)
    if first_minima == 0:
        return 0.0
    edge_count, minima_count = _add_polygon(b_x, b_y, 1, first_edges, edges, slopes, minima, first_minima)
    if minima_count == first_minima:
        return 0.0
    _sort_minima(minima, minima_count)
    level_count = _find_levels(edges, edge_count, levels)

    state[FIRST], state[RINGS], state[WAITING], state[FAILED] = NONE, 0, 0, 0
    pending = _insert_minima(levels[0], minima, minima_count, 0, edges, slopes, rings, stack, state)
    for level in range(1, level_count):
        y = levels[level]
        _process_horizontals(edges, slopes, rings, stack, state)
        if not _process_crossings(y, edges, slopes, rings, order, crossings, state):
            return 0.0
        _process_tops(y, edges, slopes, rings, stack, state)
        if state[FAILED]:
            return 0.0
        pending = _insert_minima(y, minima, minima_count, pending, edges, slopes, rings, stack, state)
    total = 0
    for ring in range(state[RINGS]):
        total += abs(rings[ring, AREA])
    return 0.5 * total


# -- Edges and bounds --------------------------------------------------------------------------------------------------


@compiled
def _add_polygon(xs, ys, polygon, offset, edges, slopes, minima, count):
    """Enter a polygon's edges and local minima; the rows of both then, those of minima as before if it is flat."""
    n = len(xs)
    last = n - 1
    while last > 0 and xs[last] == xs[0] and ys[last] == ys[0]:
        last -= 1
    while last > 0 and xs[last] == xs[last - 1] and ys[last] == ys[last - 1]:
        last -= 1
    if last < 2:
        return offset, count
    for i in range(last + 1):
        e = offset + i
        edges[e, X], edges[e, Y] = xs[i], ys[i]
        edges[e, NEXT] = offset + (i + 1 if i < last else 0)
        edges[e, PREVIOUS] = offset + (i - 1 if i > 0 else last)
        # Rows of vertices that drop out stay, as edges that nothing leads to.
        edges[e, ABOVE] = edges[e, RING] = edges[e, LEFT] = edges[e, RIGHT] = NONE
        edges[e, POLYGON] = NONE
    start = _drop_collinear(edges, offset)
    if start == NONE:
        return offset, count

    flat = True
    e = start
    while True:
        after = edges[e, NEXT]
        low, high = (e, after) if edges[e, Y] >= edges[after, Y] else (after, e)
        edges[e, BOTTOM_X], edges[e, BOTTOM_Y] = edges[low, X], edges[low, Y]
        edges[e, TOP_X], edges[e, TOP_Y] = edges[high, X], edges[high, Y]
        rise = edges[e, TOP_Y] - edges[e, BOTTOM_Y]
        slopes[e] = HORIZONTAL if rise == 0 else (edges[e, TOP_X] - edges[e, BOTTOM_X]) / rise
        edges[e, POLYGON] = polygon
        flat = flat and rise == 0
        e = after
        if e == start:
            break
    if flat:
        return offset, count

    first = NONE
    while True:
        e = _find_minimum(edges, e)
        if e == first:
            break
        if first == NONE:
            first = e
        before = edges[e, PREVIOUS]
        forward = slopes[e] >= slopes[before]
        left, right = (e, before) if forward else (before, e)
        minima[count, MINIMUM_Y], minima[count, LEFT_BOUND], minima[count, RIGHT_BOUND] = (
            edges[e, BOTTOM_Y],
            left,
            right,
        )
        count += 1
        edges[left, TURN] = -1 if edges[left, NEXT] == right else 1
        edges[right, TURN] = -edges[left, TURN]
        end_left = _link_bound(edges, left, forward)
        end_right = _link_bound(edges, right, not forward)
        for bound, side in ((left, 0), (right, 1)):
            edges[bound, X], edges[bound, Y], edges[bound, SIDE] = edges[bound, BOTTOM_X], edges[bound, BOTTOM_Y], side
        e = end_left if forward else end_right
    return offset + last + 1, count


@compiled
def _drop_collinear(edges, start):
    """Unlink vertices that repeat the next one or lie on the line of their neighbours; where to start, or none."""
    e = stop = start
    while True:
        after, before = edges[e, NEXT], edges[e, PREVIOUS]
        x, y = edges[e, X], edges[e, Y]
        if x == edges[after, X] and y == edges[after, Y]:
            if e == after:
                break
            if e == start:
                start = after
            edges[before, NEXT], edges[after, PREVIOUS] = after, before
            e = stop = after
            continue
        if before == after:
            break
        if (edges[before, Y] - y) * (x - edges[after, X]) == (edges[before, X] - x) * (y - edges[after, Y]):
            if e == start:
                start = after
            edges[before, NEXT], edges[after, PREVIOUS] = after, before
            e = stop = before
            continue
        e = after
        if e == stop:
            break
    return NONE if edges[e, PREVIOUS] == edges[e, NEXT] else start


@compiled
def _is_horizontal(edges, e):
    return edges[e, TOP_Y] == edges[e, BOTTOM_Y]


@compiled
def _find_minimum(edges, e):
    """The next edge from here that rises from a local minimum."""
    while True:
        while True:
            before = edges[e, PREVIOUS]
            joined = edges[e, BOTTOM_X] == edges[before, BOTTOM_X] and edges[e, BOTTOM_Y] == edges[before, BOTTOM_Y]
            ends_here = edges[e, X] == edges[e, TOP_X] and edges[e, Y] == edges[e, TOP_Y]
            if joined and not ends_here:
                break
            e = edges[e, NEXT]
        if not _is_horizontal(edges, e) and not _is_horizontal(edges, edges[e, PREVIOUS]):
            return e
        while _is_horizontal(edges, edges[e, PREVIOUS]):
            e = edges[e, PREVIOUS]
        first = e
        while _is_horizontal(edges, e):
            e = edges[e, NEXT]
        if edges[e, TOP_Y] == edges[edges[e, PREVIOUS], BOTTOM_Y]:
            continue
        return first if edges[edges[first, PREVIOUS], BOTTOM_X] < edges[e, BOTTOM_X] else e


@compiled
def _turn_horizontal(edges, e, reached):
    """Let a horizontal edge begin at the x that is reached."""
    if _is_horizontal(edges, e) and edges[e, BOTTOM_X] != reached:
        edges[e, TOP_X], edges[e, BOTTOM_X] = edges[e, BOTTOM_X], edges[e, TOP_X]


@compiled
def _link_bound(edges, e, forward):
    """Chain the edges that rise from here; the edge beyond them."""
    ahead, back = (NEXT, PREVIOUS) if forward else (PREVIOUS, NEXT)
    if _is_horizontal(edges, e):
        before = edges[e, back]
        reached = edges[e, BOTTOM_X]
        if _is_horizontal(edges, before):
            touches = edges[before, BOTTOM_X] == reached or edges[before, TOP_X] == reached
        else:
            touches = edges[before, BOTTOM_X] == reached
        if not touches:
            edges[e, TOP_X], edges[e, BOTTOM_X] = edges[e, BOTTOM_X], edges[e, TOP_X]
    end = e
    while edges[end, TOP_Y] == edges[edges[end, ahead], BOTTOM_Y]:
        end = edges[end, ahead]
    if _is_horizontal(edges, end):
        # A horizontal top belongs to the bound that reaches its left end.
        flat = end
        while _is_horizontal(edges, edges[flat, back]):
            flat = edges[flat, back]
        here, there = edges[edges[flat, back], TOP_X], edges[edges[end, ahead], TOP_X]
        if here > there or (not forward and here == there):
            end = edges[flat, back]
    first = e
    while True:
        if e != first:
            _turn_horizontal(edges, e, edges[edges[e, back], TOP_X])
        if e == end:
            break
        edges[e, ABOVE] = edges[e, ahead]
        e = edges[e, ahead]
    return edges[end, ahead]


@compiled
def _sort_minima(minima, count):
    """Greatest y first, stable."""
    for i in range(1, count):
        y, left, right = minima[i, 0], minima[i, 1], minima[i, 2]
        k = i
        while k > 0 and minima[k - 1, 0] < y:
            minima[k, 0], minima[k, 1], minima[k, 2] = minima[k - 1, 0], minima[k - 1, 1], minima[k - 1, 2]
            k -= 1
        minima[k, 0], minima[k, 1], minima[k, 2] = y, left, right


@compiled
def _find_levels(edges, edge_count, levels):
    """All y of vertices once, greatest first; their number."""
    count = 0
    for e in range(edge_count):
        if edges[e, POLYGON] == NONE:
            continue
        for field in (BOTTOM_Y, TOP_Y):
            y = edges[e, field]
            k = count
            while k > 0 and levels[k - 1] < y:
                k -= 1
            if k > 0 and levels[k - 1] == y:
                continue
            for i in range(count, k, -1):
                levels[i] = levels[i - 1]
            levels[k] = y
            count += 1
    return count


# -- The scan line -----------------------------------------------------------------------------------------------------


@compiled
def _round(value):
    return np.int64(value - 0.5) if value < 0 else np.int64(value + 0.5)


@compiled
def _x_at(edges, slopes, e, y):
    if y == edges[e, TOP_Y]:
        return edges[e, TOP_X]
    return edges[e, BOTTOM_X] + _round(slopes[e] * (y - edges[e, BOTTOM_Y]))


@compiled
def _goes_before(edges, slopes, present, new):
    """Whether a new edge belongs to the left of one that is on the scan line."""
    if edges[new, X] != edges[present, X]:
        return edges[new, X] < edges[present, X]
    if edges[new, TOP_Y] > edges[present, TOP_Y]:
        return edges[new, TOP_X] < _x_at(edges, slopes, present, edges[new, TOP_Y])
    return edges[present, TOP_X] > _x_at(edges, slopes, new, edges[present, TOP_Y])


@compiled
def _insert(edges, slopes, state, new, start):
    first = state[FIRST]
    if first == NONE:
        edges[new, LEFT] = edges[new, RIGHT] = NONE
        state[FIRST] = new
        return
    if start == NONE and _goes_before(edges, slopes, first, new):
        edges[new, LEFT], edges[new, RIGHT] = NONE, first
        edges[first, LEFT] = new
        state[FIRST] = new
        return
    at = first if start == NONE else start
    while edges[at, RIGHT] != NONE and not _goes_before(edges, slopes, edges[at, RIGHT], new):
        at = edges[at, RIGHT]
    after = edges[at, RIGHT]
    edges[new, RIGHT], edges[new, LEFT] = after, at
    if after != NONE:
        edges[after, LEFT] = new
    edges[at, RIGHT] = new


@compiled
def _remove(edges, state, e):
    left, right = edges[e, LEFT], edges[e, RIGHT]
    if left == NONE and right == NONE and state[FIRST] != e:
        return
    if left == NONE:
        state[FIRST] = right
    else:
        edges[left, RIGHT] = right
    if right != NONE:
        edges[right, LEFT] = left
    edges[e, LEFT] = edges[e, RIGHT] = NONE


@compiled
def _swap(edges, state, a, b):
    """Exchange two edges on the scan line, neighbours or not, if both are on it."""
    if edges[a, RIGHT] == edges[a, LEFT] or edges[b, RIGHT] == edges[b, LEFT]:
        return
    if edges[b, RIGHT] == a:
        a, b = b, a
    if edges[a, RIGHT] == b:
        before, after = edges[a, LEFT], edges[b, RIGHT]
        edges[b, LEFT], edges[b, RIGHT] = before, a
        edges[a, LEFT], edges[a, RIGHT] = b, after
        if before != NONE:
            edges[before, RIGHT] = b
        if after != NONE:
            edges[after, LEFT] = a
    else:
        a_left, a_right, b_left, b_right = edges[a, LEFT], edges[a, RIGHT], edges[b, LEFT], edges[b, RIGHT]
        edges[a, LEFT], edges[a, RIGHT], edges[b, LEFT], edges[b, RIGHT] = b_left, b_right, a_left, a_right
        for e in (a, b):
            if edges[e, LEFT] != NONE:
                edges[edges[e, LEFT], RIGHT] = e
            if edges[e, RIGHT] != NONE:
                edges[edges[e, RIGHT], LEFT] = e
    if edges[a, LEFT] == NONE:
        state[FIRST] = a
    elif edges[b, LEFT] == NONE:
        state[FIRST] = b


@compiled
def _promote(edges, state, e):
    """Put the edge above in the place of one that ends; it."""
    above = edges[e, ABOVE]
    left, right = edges[e, LEFT], edges[e, RIGHT]
    for field in (LEFT, RIGHT, SIDE, TURN, OWN, OTHER, RING):
        edges[above, field] = edges[e, field]
    if left == NONE:
        state[FIRST] = above
    else:
        edges[left, RIGHT] = above
    if right != NONE:
        edges[right, LEFT] = above
    edges[above, X], edges[above, Y] = edges[above, BOTTOM_X], edges[above, BOTTOM_Y]
    return above


# -- Rings -------------------------------------------------------------------------------------------------------------


@compiled
def _cross(x0, y0, x1, y1):
    return x0 * y1 - x1 * y0


@compiled
def _add_point(edges, rings, state, e, x, y):
    """Let an edge's ring grow by a point at the end that the edge feeds; a new ring where it has none."""
    ring = edges[e, RING]
    if ring < 0:
        ring = state[RINGS]
        if ring >= len(rings):
            state[FAILED] = 1
            return
        state[RINGS] += 1
        rings[ring, FRONT_X] = rings[ring, BACK_X] = x
        rings[ring, FRONT_Y] = rings[ring, BACK_Y] = y
        rings[ring, AREA] = 0
        edges[e, RING] = ring
    elif edges[e, SIDE] == 0:
        rings[ring, AREA] += _cross(x, y, rings[ring, FRONT_X], rings[ring, FRONT_Y])
        rings[ring, FRONT_X], rings[ring, FRONT_Y] = x, y
    else:
        rings[ring, AREA] += _cross(rings[ring, BACK_X], rings[ring, BACK_Y], x, y)
        rings[ring, BACK_X], rings[ring, BACK_Y] = x, y


@compiled
def _close(edges, rings, state, a, b, x, y):
    """Join the ends of two edges in a point: a ring closes, or two become one."""
    _add_point(edges, rings, state, a, x, y)
    one, two = edges[a, RING], edges[b, RING]
    if one == two:
        rings[one, AREA] += _cross(rings[one, BACK_X], rings[one, BACK_Y], rings[one, FRONT_X], rings[one, FRONT_Y])
        edges[a, RING] = edges[b, RING] = NONE
        return
    if one > two:
        a, b, one, two = b, a, two, one
    front, back = (rings[two, FRONT_X], rings[two, FRONT_Y]), (rings[two, BACK_X], rings[two, BACK_Y])
    area = rings[two, AREA]
    if edges[a, SIDE] == edges[b, SIDE]:
        front, back, area = back, front, -area
    if edges[a, SIDE] == 0:
        area += _cross(back[0], back[1], rings[one, FRONT_X], rings[one, FRONT_Y])
        rings[one, FRONT_X], rings[one, FRONT_Y] = front
    else:
        area += _cross(rings[one, BACK_X], rings[one, BACK_Y], front[0], front[1])
        rings[one, BACK_X], rings[one, BACK_Y] = back
    rings[one, AREA] += area
    rings[two, AREA] = 0
    edges[a, RING] = edges[b, RING] = NONE
    e = state[FIRST]
    while e != NONE:
        if edges[e, RING] == two:
            edges[e, RING], edges[e, SIDE] = one, edges[a, SIDE]
            break
        e = edges[e, RIGHT]


@compiled
def _open(edges, slopes, rings, state, a, b, x, y):
    """Begin a ring in a point, which two edges feed from there."""
    if _is_horizontal(edges, b) or slopes[a] > slopes[b]:
        left, right = a, b
    else:
        left, right = b, a
    _add_point(edges, rings, state, left, x, y)
    edges[right, RING] = edges[left, RING]
    edges[left, SIDE], edges[right, SIDE] = 0, 1
    before = edges[left, LEFT]
    if before == right:
        before = edges[right, LEFT]
    if before != NONE and edges[before, RING] >= 0 and edges[before, TOP_Y] < y and edges[left, TOP_Y] < y:
        x_before, x_left = _x_at(edges, slopes, before, y), _x_at(edges, slopes, left, y)
        if x_before == x_left and _parallel(edges, before, x_before, y, left, x_left, y):
            _add_point(edges, rings, state, before, x, y)


@compiled
def _parallel(edges, a, a_x, a_y, b, b_x, b_y):
    """Whether two edges have one direction from the given points to their tops."""
    return (a_y - edges[a, TOP_Y]) * (b_x - edges[b, TOP_X]) == (a_x - edges[a, TOP_X]) * (b_y - edges[b, TOP_Y])


@compiled
def _cross_edges(edges, slopes, rings, state, right, left, x, y):
    """Two edges cross in a point; above it, ``right`` is to the right of ``left``."""
    same = edges[right, POLYGON] == edges[left, POLYGON]
    turn_right, turn_left = edges[right, TURN], edges[left, TURN]
    if same:
        sum_right, sum_left = edges[right, OWN] + turn_left, edges[left, OWN] - turn_right
        edges[right, OWN] = sum_right if sum_right != 0 else -edges[right, OWN]
        edges[left, OWN] = sum_left if sum_left != 0 else -edges[left, OWN]
    else:
        edges[right, OTHER] += turn_left
        edges[left, OTHER] -= turn_right
    own_right, own_left = abs(edges[right, OWN]), abs(edges[left, OWN])
    feeds_right, feeds_left = edges[right, RING] >= 0, edges[left, RING] >= 0
    if feeds_right and feeds_left:
        if own_right > 1 or own_left > 1 or not same:
            _close(edges, rings, state, right, left, x, y)
        else:
            _add_point(edges, rings, state, right, x, y)
            _add_point(edges, rings, state, left, x, y)
            _exchange(edges, right, left)
    elif feeds_right:
        if own_left <= 1:
            _add_point(edges, rings, state, right, x, y)
            _exchange(edges, right, left)
    elif feeds_left:
        if own_right <= 1:
            _add_point(edges, rings, state, left, x, y)
            _exchange(edges, right, left)
    elif own_right <= 1 and own_left <= 1:
        if not same:
            _open(edges, slopes, rings, state, right, left, x, y)
        elif own_right == 1 and own_left == 1:
            if edges[right, OTHER] != 0 and edges[left, OTHER] != 0:
                _open(edges, slopes, rings, state, right, left, x, y)
        else:
            edges[right, SIDE], edges[left, SIDE] = edges[left, SIDE], edges[right, SIDE]


@compiled
def _exchange(edges, a, b):
    """Exchange what two edges feed."""
    for field in (SIDE, RING):
        edges[a, field], edges[b, field] = edges[b, field], edges[a, field]


# -- Steps of the scan -------------------------------------------------------------------------------------------------


@compiled
def _insert_minima(y, minima, count, pending, edges, slopes, rings, stack, state):
    """Put the bounds that begin at a level on the scan line; the first minimum that is left."""
    while pending < count and minima[pending, MINIMUM_Y] == y:
        left, right = minima[pending, LEFT_BOUND], minima[pending, RIGHT_BOUND]
        pending += 1
        _insert(edges, slopes, state, left, NONE)
        _insert(edges, slopes, state, right, left)
        _wind(edges, state, left)
        edges[right, OWN], edges[right, OTHER] = edges[left, OWN], edges[left, OTHER]
        x = edges[left, BOTTOM_X]
        if abs(edges[left, OWN]) == 1 and edges[left, OTHER] != 0:
            _open(edges, slopes, rings, state, left, right, x, edges[left, BOTTOM_Y])
        if _is_horizontal(edges, right):
            stack[state[WAITING]] = right
            state[WAITING] += 1
        before = edges[left, LEFT]
        touches = edges[left, RING] >= 0 and before != NONE and edges[before, X] == x and edges[before, RING] >= 0
        if touches and _same_slope(edges, before, left, edges[left, X], edges[left, Y]):
            _add_point(edges, rings, state, before, x, edges[left, BOTTOM_Y])
        if edges[left, RIGHT] != right:
            before = edges[right, LEFT]
            both = edges[right, RING] >= 0 and edges[before, RING] >= 0
            before_x, before_y, right_x, right_y = edges[before, X], edges[before, Y], edges[right, X], edges[right, Y]
            if both and _parallel(edges, before, before_x, before_y, right, right_x, right_y):
                _add_point(edges, rings, state, before, edges[right, BOTTOM_X], edges[right, BOTTOM_Y])
            between = edges[left, RIGHT]
            while between != NONE and between != right:
                _cross_edges(edges, slopes, rings, state, right, between, edges[left, X], edges[left, Y])
                between = edges[between, RIGHT]
    return pending


@compiled
def _same_slope(edges, whole, other, x, y):
    """Whether an edge, from end to end, has the direction of another from a point to its top."""
    return (edges[whole, BOTTOM_Y] - edges[whole, TOP_Y]) * (x - edges[other, TOP_X]) == (
        edges[whole, BOTTOM_X] - edges[whole, TOP_X]
    ) * (y - edges[other, TOP_Y])


@compiled
def _wind(edges, state, e):
    """Winding numbers of an edge from those to its left."""
    turn = edges[e, TURN]
    before = edges[e, LEFT]
    while before != NONE and edges[before, POLYGON] != edges[e, POLYGON]:
        before = edges[before, LEFT]
    if before == NONE:
        edges[e, OWN], edges[e, OTHER] = turn, 0
        at = state[FIRST]
    else:
        own, its_turn = edges[before, OWN], edges[before, TURN]
        if own * its_turn < 0 and abs(own) <= 1:
            edges[e, OWN] = turn
        elif its_turn * turn < 0:
            edges[e, OWN] = own
        else:
            edges[e, OWN] = own + turn
        edges[e, OTHER] = edges[before, OTHER]
        at = edges[before, RIGHT]
    while at != e:
        edges[e, OTHER] += edges[at, TURN]
        at = edges[at, RIGHT]


@compiled
def _process_horizontals(edges, slopes, rings, stack, state):
    while state[WAITING] > 0:
        state[WAITING] -= 1
        _process_horizontal(stack[state[WAITING]], edges, slopes, rings, state)


@compiled
def _process_horizontal(e, edges, slopes, rings, state):
    """Follow one or more horizontal edges of a bound, through the edges that they cross."""
    last = e
    while edges[last, ABOVE] != NONE and _is_horizontal(edges, edges[last, ABOVE]):
        last = edges[last, ABOVE]
    partner = _maximum_pair(edges, last) if edges[last, ABOVE] == NONE else NONE
    while True:
        y = edges[e, Y]
        rightwards = edges[e, BOTTOM_X] < edges[e, TOP_X]
        end = edges[e, TOP_X]
        step = RIGHT if rightwards else LEFT
        other = edges[e, step]
        while other != NONE:
            x = edges[other, X]
            if (x > end) if rightwards else (x < end):
                break
            above = edges[e, ABOVE]
            if x == end and above != NONE and slopes[other] < slopes[above]:
                break
            if edges[e, RING] >= 0:
                _add_point(edges, rings, state, e, x, edges[other, Y])
            if other == partner and e == last:
                if edges[e, RING] >= 0:
                    _close(edges, rings, state, e, partner, edges[e, TOP_X], edges[e, TOP_Y])
                _remove(edges, state, e)
                _remove(edges, state, partner)
                return
            if rightwards:
                _cross_edges(edges, slopes, rings, state, e, other, x, y)
            else:
                _cross_edges(edges, slopes, rings, state, other, e, x, y)
            after = edges[other, step]
            _swap(edges, state, e, other)
            other = after
        above = edges[e, ABOVE]
        if above == NONE or not _is_horizontal(edges, above):
            break
        e = _promote(edges, state, e)
        if edges[e, RING] >= 0:
            _add_point(edges, rings, state, e, edges[e, BOTTOM_X], edges[e, BOTTOM_Y])
    feeds = edges[e, RING] >= 0
    if feeds:
        _add_point(edges, rings, state, e, edges[e, TOP_X], edges[e, TOP_Y])
    if edges[e, ABOVE] == NONE:
        _remove(edges, state, e)
        return
    e = _promote(edges, state, e)
    if feeds:
        _touch_neighbours(edges, rings, state, e, edges[e, BOTTOM_X], edges[e, BOTTOM_Y], True)


@compiled
def _touch_neighbours(edges, rings, state, e, x, y, whole):
    """Where an edge begins on a neighbour of the same direction, the neighbour's ring gets a point there, too."""
    for side in (LEFT, RIGHT):
        other = edges[e, side]
        if other == NONE or edges[other, X] != x or edges[other, Y] != y:
            continue
        if edges[other, RING] < 0 or edges[other, Y] <= edges[other, TOP_Y]:
            continue
        if whole:
            parallel = _same_slope(edges, other, e, edges[e, BOTTOM_X], edges[e, BOTTOM_Y])
        else:
            parallel = _parallel(edges, e, edges[e, X], edges[e, Y], other, edges[other, X], edges[other, Y])
        if parallel:
            _add_point(edges, rings, state, other, x, y)
            return


@compiled
def _maximum_pair(edges, e):
    """The edge that ends in the same local maximum, or none."""
    for side in (NEXT, PREVIOUS):
        other = edges[e, side]
        if (
            edges[other, TOP_X] == edges[e, TOP_X]
            and edges[other, TOP_Y] == edges[e, TOP_Y]
            and edges[other, ABOVE] == NONE
        ):
            return other
    return NONE


@compiled
def _process_crossings(y, edges, slopes, rings, order, crossings, state):
    """Cross all edges that change places between the scan line and a level; whether that could be done."""
    count = 0
    sorted_edges, place = order[0], order[1]
    e = state[FIRST]
    in_order = True
    reached = 0
    while e != NONE:
        x = _x_at(edges, slopes, e, y)
        in_order = in_order and (count == 0 or reached <= x)
        reached = x
        edges[e, X] = x
        sorted_edges[count] = e
        count += 1
        e = edges[e, RIGHT]
    if in_order:
        return True

    found = 0
    length = count
    modified = True
    while modified and length > 1:
        modified = False
        for i in range(length - 1):
            a, b = sorted_edges[i], sorted_edges[i + 1]
            if edges[a, X] > edges[b, X]:
                px, py = _crossing_point(edges, slopes, a, b)
                if py < y:
                    px, py = _x_at(edges, slopes, a, y), y
                crossings[found, 0], crossings[found, 1], crossings[found, 2], crossings[found, 3] = a, b, px, py
                found += 1
                sorted_edges[i], sorted_edges[i + 1] = b, a
                modified = True
        length -= 1

    if found > 1:
        for i in range(1, found):
            a, b, px, py = crossings[i, 0], crossings[i, 1], crossings[i, 2], crossings[i, 3]
            k = i
            while k > 0 and crossings[k - 1, 3] < py:
                for field in range(4):
                    crossings[k, field] = crossings[k - 1, field]
                k -= 1
            crossings[k, 0], crossings[k, 1], crossings[k, 2], crossings[k, 3] = a, b, px, py
        place = order[1]
        e = state[FIRST]
        for i in range(count):
            place[i] = e
            e = edges[e, RIGHT]
        for i in range(found):
            k = i
            while k < found and not _adjacent(place, count, crossings[k, 0], crossings[k, 1]):
                k += 1
            if k == found:
                return False
            if k > i:
                for field in range(4):
                    crossings[i, field], crossings[k, field] = crossings[k, field], crossings[i, field]
            _swap_places(place, count, crossings[i, 0], crossings[i, 1])

    for i in range(found):
        a, b = crossings[i, 0], crossings[i, 1]
        _cross_edges(edges, slopes, rings, state, a, b, crossings[i, 2], crossings[i, 3])
        _swap(edges, state, a, b)
    return True


@compiled
def _adjacent(place, count, a, b):
    for i in range(count):
        if place[i] == a:
            return (i > 0 and place[i - 1] == b) or (i + 1 < count and place[i + 1] == b)
    return False


@compiled
def _swap_places(place, count, a, b):
    for i in range(count):
        if place[i] == a:
            place[i] = b
        elif place[i] == b:
            place[i] = a


@compiled
def _crossing_point(edges, slopes, a, b):
    """Where two edges cross, rounded, and kept between the scan line and the tops of both."""
    slope_a, slope_b = slopes[a], slopes[b]
    if slope_a == slope_b:
        return _x_at(edges, slopes, a, edges[a, Y]), edges[a, Y]
    steep = a if abs(slope_a) < abs(slope_b) else b
    if slope_a == 0 or slope_b == 0:
        upright, other = (a, b) if slope_a == 0 else (b, a)
        x = edges[upright, BOTTOM_X]
        slope = slopes[other]
        y = _round(x / slope + (edges[other, BOTTOM_Y] - edges[other, BOTTOM_X] / slope))
    else:
        offset_a = edges[a, BOTTOM_X] - edges[a, BOTTOM_Y] * slope_a
        offset_b = edges[b, BOTTOM_X] - edges[b, BOTTOM_Y] * slope_b
        exact = (offset_b - offset_a) / (slope_a - slope_b)
        y = _round(exact)
        x = _round(slope_a * exact + offset_a) if steep == a else _round(slope_b * exact + offset_b)
    highest = max(edges[a, TOP_Y], edges[b, TOP_Y])
    if y < highest:
        y = highest
        x = _x_at(edges, slopes, steep, y)
    if y > edges[a, Y]:
        y = edges[a, Y]
        x = _x_at(edges, slopes, b if abs(slope_a) > abs(slope_b) else a, y)
    return x, y


@compiled
def _process_tops(y, edges, slopes, rings, stack, state):
    """Let edges end that reach a level, and the edges above them begin."""
    e = state[FIRST]
    while e != NONE:
        ends = edges[e, TOP_Y] == y
        maximum = ends and edges[e, ABOVE] == NONE
        if maximum:
            partner = _maximum_pair(edges, e)
            if partner != NONE and not _is_horizontal(edges, partner) and edges[partner, RIGHT] == edges[partner, LEFT]:
                partner = NONE
            maximum = partner == NONE or not _is_horizontal(edges, partner)
            if maximum:
                before = edges[e, LEFT]
                _end_maximum(e, partner, edges, slopes, rings, state)
                if state[FAILED]:
                    return
                e = state[FIRST] if before == NONE else edges[before, RIGHT]
                continue
        if ends and edges[e, ABOVE] != NONE and _is_horizontal(edges, edges[e, ABOVE]):
            e = _promote(edges, state, e)
            if edges[e, RING] >= 0:
                _add_point(edges, rings, state, e, edges[e, BOTTOM_X], edges[e, BOTTOM_Y])
            stack[state[WAITING]] = e
            state[WAITING] += 1
        else:
            edges[e, X], edges[e, Y] = _x_at(edges, slopes, e, y), y
        e = edges[e, RIGHT]

    _process_horizontals(edges, slopes, rings, stack, state)

    e = state[FIRST]
    while e != NONE:
        if edges[e, TOP_Y] == y and edges[e, ABOVE] != NONE:
            feeds = edges[e, RING] >= 0
            if feeds:
                _add_point(edges, rings, state, e, edges[e, TOP_X], edges[e, TOP_Y])
            e = _promote(edges, state, e)
            if feeds:
                _touch_neighbours(edges, rings, state, e, edges[e, BOTTOM_X], edges[e, BOTTOM_Y], False)
        e = edges[e, RIGHT]


@compiled
def _end_maximum(e, partner, edges, slopes, rings, state):
    """Two edges meet at their tops."""
    x, y = edges[e, TOP_X], edges[e, TOP_Y]
    if partner == NONE:
        if edges[e, RING] >= 0:
            _add_point(edges, rings, state, e, x, y)
        _remove(edges, state, e)
        return
    other = edges[e, RIGHT]
    while other != NONE and other != partner:
        _cross_edges(edges, slopes, rings, state, e, other, x, y)
        _swap(edges, state, e, other)
        other = edges[e, RIGHT]
    if edges[e, RING] >= 0 and edges[partner, RING] >= 0:
        _close(edges, rings, state, e, partner, x, y)
    elif edges[e, RING] >= 0 or edges[partner, RING] >= 0:
        state[FAILED] = 1
        return
    _remove(edges, state, e)
    _remove(edges, state, partner)
