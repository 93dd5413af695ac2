"""Helpers of the Python end-to-end suite: the server under test, room members, test media and waiting."""
