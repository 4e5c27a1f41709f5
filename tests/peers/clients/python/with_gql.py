"""gql, with its transport over requests."""

from gql import Client, gql
from gql.transport.requests import RequestsHTTPTransport

from cases import SIZE, run


def client_of(base):
    # docs
    client = Client(transport=RequestsHTTPTransport(url=f"{base}/graphql"))
    # end
    return client


def request(base):
    return client_of(base).execute(gql("{ ping }"))["ping"]


def upload(base):
    query = gql("query ($text: String) { bytes(text: $text) }")
    query.variable_values = {"text": "x" * SIZE}
    return client_of(base).execute(query)["bytes"]


run(request=request, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
