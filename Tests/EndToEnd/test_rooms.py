"""roomApp on the wire (signalling 5.2): members, streams, messages, and a member that is lost."""

from aiortc_peer import wcs_publish
from wcs_client import WcsClient


class Member(WcsClient):
    """A client of the room API."""

    async def enter(self, login: str, room: str) -> list:
        """Connects and joins; the `info` of STATE."""
        self.login, self.room = login, room
        await self.connect(appKey="roomApp", custom={"login": login})
        await self.command("join", {"name": room})
        return await self.event("STATE")

    async def command(self, command: str, options: dict, accepted: bool = True) -> dict:
        operation = f"{command}-{id(options)}"
        await self.send("sendData", {"operationId": operation, "payload": {"command": command, "options": options}})
        status = (await self.expect("DataStatusEvent", lambda d: d[0]["operationId"] == operation))[0]
        assert status["status"] == ("ACCEPTED" if accepted else "FAILED"), status
        return status

    async def event(self, name: str):
        payload = (await self.expect("OnDataEvent", lambda d: d[0]["payload"]["name"] == name))[0]["payload"]
        assert payload["roomName"] == self.room
        return payload["info"]


async def test_a_room_of_five(start_server, name):
    server = start_server()
    logins = ["ann", "bob", "eve", "dan", "joe"]
    members = [Member(server.ws_url) for _ in logins]
    for index, (member, login) in enumerate(zip(members, logins)):
        await member.__aenter__()
        assert await member.enter(login, name) == logins[:index]
        for other in members[:index]:
            assert await other.event("JOINED") == login
    ann, bob, eve, dan, joe = members
    first, identifier = await wcs_publish(ann, stream := f"{name}-ann-9f00", None)
    for other in members[1:]:
        assert await other.event("PUBLISHED") == {"login": "ann", "name": stream}
    await bob.command("sendMessage", {"roomConfig": {"name": name}, "to": "eve", "text": "hi \u00e9"})
    assert await eve.event("MESSAGE") == {"from": "bob", "text": "hi \u00e9"}
    refused = await bob.command("sendMessage", {"roomConfig": {"name": name}, "to": "nobody", "text": "hi"}, False)
    assert refused["info"] == "No such participant"
    async with Member(server.ws_url) as late:
        assert await late.enter("kim", name) == [{"login": "ann", "name": stream}, "bob", "eve", "dan", "joe"]
        await late.command("leave", {"name": name})
    for member in members:
        assert await member.event("JOINED") == "kim"
        assert await member.event("LEFT") == "kim"
    await ann.stop(identifier, stream, published=True)
    for other in members[1:]:
        assert await other.event("UNPUBLISHED") == {"login": "ann", "name": stream}
    second, _ = await wcs_publish(joe, lost := f"{name}-joe-1a2b", None)
    for other in members[:-1]:
        assert await other.event("PUBLISHED") == {"login": "joe", "name": lost}
    joe.socket.transport.abort()
    for other in members[:-1]:
        assert await other.event("UNPUBLISHED") == {"login": "joe", "name": lost}
        assert await other.event("LEFT") == "joe"
    for peer in (first, second):
        await peer.close()
    for member in members:
        await member.__aexit__()


async def test_a_failed_stream_and_a_login_that_is_missing(start_server, name):
    server = start_server({"ice": {"keep_alive_timeout": "2s"}})
    async with Member(server.ws_url) as ann, Member(server.ws_url) as bob, WcsClient(server.ws_url) as nobody:
        await ann.enter("ann", name)
        await bob.enter("bob", name)
        peer, _ = await wcs_publish(ann, stream := f"{name}-ann-0000", None)
        assert await bob.event("PUBLISHED") == {"login": "ann", "name": stream}
        for transceiver in peer.pc.getTransceivers():
            await transceiver.sender.transport.transport._connection.close()
        assert await bob.event("FAILED") == {"login": "ann", "name": stream}
        await peer.close()
        await nobody.connect(appKey="roomApp")
        await nobody.send("sendData", {
            "operationId": "o", "payload": {"command": "join", "options": {"name": name}}})
        assert (await nobody.expect("DataStatusEvent"))[0] == {
            "operationId": "o", "status": "FAILED", "info": "Login is missing"}
