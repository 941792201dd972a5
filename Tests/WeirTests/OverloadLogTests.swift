import MediaEngine
import Testing
import Weir
import Wire

@Suite struct OverloadLogTests {
    @Test func beginAndEndAreToldWithWorkerPlayersAndRemedy() async {
        let tape = LogTape()
        let (news, continuation) = AsyncStream.makeStream(of: OverloadLog.News.self)
        continuation.yield((3, .began(thinned: 50, players: 400)))
        continuation.yield((3, .ended(lasted: .milliseconds(12_900), mostThinned: 150)))
        continuation.finish()
        await OverloadLog(tape.makeSink().makeLogger()).run(news)
        #expect(
            tape.lines == [
                "2026-01-02T03:04:05.678Z warning  Overloaded: the slowest players of this worker get key frames only, "
                    + "new peers are refused players=400 remedy=\"fewer players, more cores (media.workers) or a lower "
                    + "bitrate\" thinned=50 worker=3\n",
                "2026-01-02T03:04:05.678Z notice   Overload is over: all players of this worker get full video "
                    + "seconds=12 thinned=150 worker=3\n",
            ])
    }
}
