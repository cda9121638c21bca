"""Tables of points and boxes, as people write them and as ImageJ and QuPath export them."""

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.files.prompts import read_prompts

SHAPE = (100, 200)


def write(folder, text, name="table.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    "text",
    [
        "x,y\n10,20\n30.5,40\n",
        "X;Y\n10;20\n30,5;40\n",
        " ,Label,Area,Mean,X,Y\n1,cells.tif,0,55,10,20\n2,cells.tif,0,81,30.5,40\n",  # ImageJ
        "Image\tObject ID\tClass\tCentroid X px\tCentroid Y px\na.tif\tq\tNone\t10\t20\na.tif\tr\t\t30.5\t40\n",
    ],
)
def test_points(tmp_path, text):
    prompts = read_prompts(write(tmp_path, text), None, SHAPE)
    np.testing.assert_array_equal(prompts.points, [[[10, 20]], [[30.5, 40]]])
    np.testing.assert_array_equal(prompts.labels, [[1], [1]])
    assert prompts.boxes is None
    assert prompts.count == 2


def test_points_of_one_object(tmp_path):
    text = "object,x,y,label\n2,5,6,1\n1,10,20,foreground\n1,11,20,background\n1,12,20,1\n"
    prompts = read_prompts(write(tmp_path, text), None, SHAPE)
    np.testing.assert_array_equal(prompts.labels, [[1, 0, 1], [1, -1, -1]])
    np.testing.assert_array_equal(prompts.points[1, 0], [5, 6])


def test_micrometres(tmp_path):
    path = write(tmp_path, "Centroid X µm\tCentroid Y µm\n5\t10\n")
    np.testing.assert_array_equal(read_prompts(path, None, SHAPE, 0.5).points, [[[10, 20]]])
    with pytest.raises(UserError, match="in micrometres, but the image does not say how large its pixels are"):
        read_prompts(path, None, SHAPE)


@pytest.mark.parametrize(
    "text",
    ["x0,y0,x1,y1\n10,20,50,60\n", "xmin,ymin,xmax,ymax\n10,20,50,60\n", " ,BX,BY,Width,Height\n1,10,20,40,40\n"],
)
def test_boxes(tmp_path, text):
    prompts = read_prompts(None, write(tmp_path, text), SHAPE)
    np.testing.assert_array_equal(prompts.boxes, [[10, 20, 50, 60]])


def test_a_box_up_to_the_edge(tmp_path):
    prompts = read_prompts(None, write(tmp_path, "x,y,width,height\n0,0,200,100\n"), SHAPE)
    np.testing.assert_array_equal(prompts.boxes, [[0, 0, 199, 99]])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("points", "x,y\n10,100\n", r"row 1: \(10, 100\) lies outside of the image, which is 200 x 100 pixels"),
        ("points", "x,y\n-1,5\n", "lies outside"),
        ("points", "a,b\n1,2\n", "has the columns a, b: points need x and y"),
        ("points", "x,y\n1,two\n", "row 1: y is 'two', which is no number"),
        ("points", "x,y\n1,nan\n", "not finite"),
        ("points", "x,y\n", "has no rows"),
        ("points", "x,y\n1\n", "row 1: it has fewer cells"),
        ("points", "x,y\n" + "1,1\n" * 10_000, "has 10,000 rows, more than 9,999 prompts"),
        ("points", "object,x,y,label\nA,1,1,0\n", "object A has no point within it"),
        ("boxes", "x0,y0,x1,y1\n10,20,10,60\n", "row 1: the box has no area"),
        ("boxes", "x,y,width,height\n10,20,300,20\n", "lies outside"),
        ("boxes", "x,y\n1,2\n", "boxes need x0, y0, x1 and y1"),
    ],
)
def test_wrong_tables(tmp_path, kind, text, message):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message):
        read_prompts(path if kind == "points" else None, path if kind == "boxes" else None, SHAPE)


def test_points_and_boxes_of_different_numbers(tmp_path):
    points, boxes = write(tmp_path, "x,y\n1,1\n"), write(tmp_path, "x,y,width,height\n0,0,9,9\n5,5,5,5\n", "boxes.csv")
    with pytest.raises(UserError, match=r"has points of 1 objects, but .* has 2 boxes"):
        read_prompts(points, boxes, SHAPE)
