# One end of a stream whose bytes can be checked at any place, for the tests of what happens when a program dies.
#
#   stream.py listen|connect send|receive|echo|ask ADDRESS PORT [--seconds S] [--amount N]
#
# It prints "open" when connected, "midway" once 4 MB (or 1000 answers) have gone by, "ended HOW BYTES" when the peer is gone.
import argparse, os, socket, sys, time

arguments = argparse.ArgumentParser()
arguments.add_argument("role")
arguments.add_argument("action")
arguments.add_argument("address")
arguments.add_argument("port", type=int)
arguments.add_argument("--seconds", type=float, default=60)
a = arguments.parse_args()

PIECE = 1 << 16
pattern = bytes((i * 167 + (i >> 8) * 59) & 255 for i in range(PIECE))


def say(*words):
    print(*words, flush=True)


def open_stream():
    if a.role == "connect":
        return socket.create_connection((a.address, a.port), timeout=10)
    listener = socket.create_server((a.address, a.port))
    return listener.accept()[0]


def send(stream, until):
    sent = 0
    while time.monotonic() < until:
        stream.sendall(pattern)
        sent += PIECE
        if sent == 64 * PIECE:
            say("midway")
    stream.shutdown(socket.SHUT_WR)
    stream.recv(1)
    return sent


def receive(stream, until):
    got = 0
    while data := stream.recv(PIECE):
        at = got % PIECE
        expected = (pattern + pattern)[at : at + len(data)]
        if data != expected:
            say("WRONG BYTES at", got)
            os._exit(3)
        if got < 64 * PIECE <= got + len(data):
            say("midway")
        got += len(data)
    return got


def echo(stream, until):
    got = 0
    while data := stream.recv(PIECE):
        stream.sendall(data)
        got += len(data)
    return got


def ask(stream, until):
    answers = 0
    while time.monotonic() < until:
        question = pattern[answers % 1000 : answers % 1000 + 64]
        stream.sendall(question)
        answer = b""
        while len(answer) < len(question):
            data = stream.recv(PIECE)
            if not data:
                raise ConnectionResetError
            answer += data
        if answer != question:
            say("WRONG BYTES at", answers)
            os._exit(3)
        answers += 1
        if answers == 1000:
            say("midway")
    return answers


stream = open_stream()
stream.settimeout(None)
say("open")
began = time.monotonic()
try:
    amount = {"send": send, "receive": receive, "echo": echo, "ask": ask}[a.action](stream, began + a.seconds)
    say("ended cleanly", amount)
except (ConnectionResetError, BrokenPipeError) as error:
    say("ended", type(error).__name__)
