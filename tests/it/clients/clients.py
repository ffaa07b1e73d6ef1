"""Python's HTTP clients against the address in argv[1]: a pixel, a rejected one, and a kept connection."""

import asyncio
import http.client
import json
import sys
import urllib.error
import urllib.request

import aiohttp
import httpx
import requests

HOST = sys.argv[1]
URL = f"http://{HOST}/pixel"
PIXEL = {"x": 10, "y": 20, "channel": "R", "value": 255}
WRONG = {**PIXEL, "value": 256}
OK = (200, {"status": "ok", "received": PIXEL})
REJECTED = (422, {"error": "value must be between 0 and 255"})
# One after the other on one connection, and the rejected one between two others.
SEQUENCE = [(PIXEL, OK), (WRONG, REJECTED), (PIXEL, OK)]


def same(client, found, wanted):
    if found != wanted:
        sys.exit(f"{client}: {found} instead of {wanted}")


def by_urllib():
    for body, wanted in SEQUENCE:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
        try:
            response = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            response = error
        same("urllib", (response.status, json.load(response)), wanted)


def by_http_client():
    connection = http.client.HTTPConnection(HOST, timeout=10)
    # An iterable body goes out in chunks.
    for chunked in (False, True):
        for body, wanted in SEQUENCE:
            data = json.dumps(body).encode()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/pixel", iter([data[:5], data[5:]]) if chunked else data, headers)
            response = connection.getresponse()
            same("http.client", (response.status, json.load(response)), wanted)


def by_requests():
    with requests.Session() as session:
        for body, wanted in SEQUENCE:
            response = session.post(URL, json=body, timeout=10)
            same("requests", (response.status_code, response.json()), wanted)


def by_httpx():
    with httpx.Client(timeout=10) as client:
        for body, wanted in SEQUENCE:
            response = client.post(URL, json=body)
            same("httpx", (response.status_code, response.json()), wanted)


async def by_aiohttp():
    async with aiohttp.ClientSession() as session:
        for expect in (False, True):
            for body, wanted in SEQUENCE:
                async with session.post(URL, json=body, expect100=expect) as response:
                    same("aiohttp", (response.status, await response.json()), wanted)
        many = [session.post(URL, json=PIXEL) for _ in range(50)]
        for response in await asyncio.gather(*many):
            same("aiohttp", (response.status, await response.json()), OK)


by_urllib()
by_http_client()
by_requests()
by_httpx()
asyncio.run(by_aiohttp())
