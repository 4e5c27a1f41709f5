"""stripe for Python."""

import io

import stripe

from cases import KEY, SIZE, run


def client_of(base):
    api_key = KEY
    # docs
    client = stripe.StripeClient(api_key, base_addresses={"api": base, "files": base})
    # end
    return client


def request(base):
    return client_of(base).v1.customers.retrieve("cus_1").name


def refund(base):
    return client_of(base).v1.refunds.create({"charge": "ch_1"}).status


def upload(base):
    return client_of(base).v1.files.create({"file": io.BytesIO(b"x" * SIZE), "purpose": "dispute_evidence"}).size


run(request=request, upload=upload, forbidden=refund, large=refund, limited=request, unavailable=request, cut=request)
