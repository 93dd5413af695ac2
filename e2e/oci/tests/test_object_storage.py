"""Objects through Oracle's SDK."""

import oci
import pytest
from oci.exceptions import ServiceError

from sala_oci.simulator import NAMESPACE


@pytest.fixture
def storage(cloud, operator):
    return operator(cloud, oci.object_storage.ObjectStorageClient)


def status_of(call, *arguments, **options):
    with pytest.raises(ServiceError) as error:
        call(*arguments, **options)
    return error.value.status, error.value.code


def test_an_object_comes_back_as_it_was_put(storage):
    assert storage.get_namespace().data == NAMESPACE
    name = "dir/file one+two.bin"
    put = storage.put_object(NAMESPACE, "data", name, b"\0\1" * 1000, opc_meta={"colour": "red"})
    got = storage.get_object(NAMESPACE, "data", name)
    assert got.data.content == b"\0\1" * 1000
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["opc-meta-colour"] == "red"
    assert storage.head_object(NAMESPACE, "data", name).headers["content-length"] == "2000"
    part = storage.get_object(NAMESPACE, "data", name, range="bytes=0-2")
    assert (part.status, part.data.content) == (206, b"\0\1\0")


def test_conditions_hold(storage):
    def put(**condition):
        return storage.put_object(NAMESPACE, "data", "scalein.lock", b"x", **condition)

    etag = put(if_none_match="*").headers["etag"]
    assert status_of(put, if_none_match="*") == (412, "IfNoneMatchFailed")
    newer = put(if_match=etag).headers["etag"]
    assert status_of(put, if_match=etag) == (412, "IfMatchFailed")
    assert storage.get_object(NAMESPACE, "data", "scalein.lock", if_none_match=etag).status == 200
    assert status_of(storage.get_object, NAMESPACE, "data", "scalein.lock", if_none_match=newer)[0] == 304
    assert status_of(storage.delete_object, NAMESPACE, "data", "scalein.lock", if_match=etag)[0] == 412
    storage.delete_object(NAMESPACE, "data", "scalein.lock", if_match=newer)
    assert status_of(storage.get_object, NAMESPACE, "data", "scalein.lock") == (404, "ObjectNotFound")


def test_lists_go_on_where_the_last_one_ended(storage):
    for n in range(5):
        storage.put_object(NAMESPACE, "data", f"a/{n}", b"x")
    storage.put_object(NAMESPACE, "data", "b", b"x")
    first = storage.list_objects(NAMESPACE, "data", prefix="a/", limit=2, fields="name,etag,size").data
    assert [(one.name, one.size) for one in first.objects] == [("a/0", 1), ("a/1", 1)]
    assert first.next_start_with == "a/2"
    every = oci.pagination.list_call_get_all_results(storage.list_objects, NAMESPACE, "data").data.objects
    assert [one.name for one in every] == ["a/0", "a/1", "a/2", "a/3", "a/4", "b"]


def test_a_bucket_that_is_not_there_is_one_that_is_not_allowed(storage):
    assert status_of(storage.get_object, NAMESPACE, "nothing", "x") == (404, "BucketNotFound")
    assert storage.get_bucket(NAMESPACE, "data").data.name == "data"
