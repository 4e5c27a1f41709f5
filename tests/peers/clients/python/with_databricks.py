"""databricks-sdk, whose client takes a host without a path. The case is therefore the identifier of
the cluster."""

import io

from databricks.sdk import WorkspaceClient

from cases import BASE, KEY, SIZE, run


def client_of(base):
    token = KEY
    # docs
    client = WorkspaceClient(host=base, token=token)
    # end
    return client


def cluster(name):
    return lambda _: client_of(BASE).clusters.get(name).cluster_name


def upload(_):
    client_of(BASE).files.upload("/upload", io.BytesIO(b"x" * SIZE))
    return SIZE


run(request=cluster("request"), upload=upload, forbidden=lambda _: list(client_of(BASE).jobs.list()), large=cluster("large"),
    limited=cluster("limited"), cut=cluster("cut"))
