import ControlPlane
import Testing
import WCS
import WeirJSON

/// `keepAlive` and `authToken` of `connection` on the wire (section 2.5).
@Suite(.serialized, .timeLimit(.minutes(4))) struct ReattachTests {
    private func connect(_ server: TestServer, _ members: String) async throws -> (client: TestClient, user: JSONValue)
    {
        let client = try await TestClient.open(server.port)
        try await client.send(#"{"message":"connection","data":[{\#(members)}]}"#)
        return (client, try await client.message("getUserData").first)
    }

    private func publish(_ client: TestClient, _ id: String) async throws -> JSONValue {
        try await client.send(
            #"{"message":"publishStream","data":[{"mediaSessionId":"\#(id)","name":"n","sdp":"OFFER"}]}"#)
        return try await client.status()
    }

    private func expectRefused(_ server: TestServer, _ token: String) async throws {
        let client = try await TestClient.open(server.port)
        try await client.send(#"{"message":"connection","data":[{"keepAlive":true,"authToken":"\#(token)"}]}"#)
        let fail = try await client.message("fail").first
        #expect(
            fail.serialized
                == #"{"status":"FAILED","info":"Session does not exist","apiMethod":"ConnectionStatusEvent"}"#)
        #expect(await client.closeCode() == 1008)
    }

    @Test func theKeptSessionsDataComeBackWithItsToken() async throws {
        try await TestServer.run { server in
            let (first, user) = try await connect(
                server,
                #""appKey":"defaultApp","mediaProviders":["WebRTC"],"keepAlive":true,"custom":{"n":1},"#
                    + #""sipLogin":"1000","sipPassword":"secret""#)
            let token = try #require(user["authToken"]?.text)
            try await first.channel.close().get()
            // The page of the SDK's phone gives nothing but the token.
            let (second, again) = try await connect(server, #""keepAlive":true,"authToken":"\#(token)""#)
            #expect(again == user)
            #expect(again["sipLogin"]?.text == "1000" && again["sipPassword"] == nil)
            #expect(try await publish(second, "p")["status"]?.text == "PUBLISHING")
        }
    }

    @Test func aNewConnectionTakesTheSessionOverWhileTheOldOneIsStillThere() async throws {
        try await TestServer.run { server in
            let (first, user) = try await connect(server, #""keepAlive":true"#)
            #expect(try await publish(first, "p")["status"]?.text == "PUBLISHING")
            let token = try #require(user["authToken"]?.text)
            let (second, _) = try await connect(server, #""authToken":"\#(token)""#)
            #expect(try await publish(second, "p")["status"]?.text == "PUBLISHING", "id and name are free at once")
            #expect(try await first.status()["info"]?.text == "Stopped by session disconnect")
            #expect(await first.closeCode() == 1000)
        }
    }

    @Test func aWrongTokenIsRefused() async throws {
        try await TestServer.run { server in
            try await expectRefused(server, "token-1")
            let (client, user) = try await connect(server, #""appKey":"defaultApp""#)
            let token = try #require(user["authToken"]?.text)
            try await expectRefused(server, token)
            // Who did not ask to be kept is not thrown out by somebody who knows the token.
            #expect(try await publish(client, "p")["status"]?.text == "PUBLISHING")
        }
    }
}
