"""PyGithub. It appends the path of a `Link` to its base URL, so `pages` has no case in that."""

import github

from cases import BASE, KEY, SIZE, run


def client_of(base):
    token = KEY
    # docs
    client = github.Github(base_url=base, auth=github.Auth.Token(token))
    # end
    return client


def request(base):
    return client_of(base).get_repo("agent/pong").name


def pages(_):
    return " ".join(issue.title for issue in client_of(BASE).get_repo("agent/pong", lazy=True).get_issues())


def upload(base):
    repository = client_of(base).get_repo("agent/pong", lazy=True)
    return repository.create_file("file", "message", b"x" * SIZE)["content"].size


run(request=request, pages=pages, upload=upload, forbidden=request, large=request, limited=request, unavailable=request, cut=request)
