import Foundation
import Logging
import Testing
import Weir
import Wire

@Suite struct LogTests {
    @Test func textLinesHaveFixedFieldsFirst() {
        let tape = LogTape()
        var logger = tape.makeSink().makeLogger()
        logger[metadataKey: "peer"] = "7"
        logger.info(
            "Published", metadata: ["zeta": "1", "codec": "VP8", "app": "demo", "session": "s1", "stream": "cam 1"])
        #expect(
            tape.lines == [
                "2026-01-02T03:04:05.678Z info     Published session=s1 stream=\"cam 1\" app=demo peer=7 codec=VP8 zeta=1\n"
            ])
    }

    @Test func jsonLinesAreJSONWithTheSameFields() throws {
        let tape = LogTape()
        var settings = Configuration.Log()
        settings.format = .json
        tape.makeSink(settings).makeLogger().error(
            "Bad \"thing\"\n",
            metadata: [
                "stream": "a\u{1}b", "n": .stringConvertible(5), "ok": .stringConvertible(true), "list": ["x", "y"],
                "time": "t", "map": ["k": "v"],
            ])
        let line = try #require(tape.lines.first)
        #expect(
            line.hasPrefix(
                "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"error\",\"message\":\"Bad \\\"thing\\\"\\n\",\"stream\":"
            ))
        #expect(line.hasSuffix("}\n"))
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(object["stream"] as? String == "a\u{1}b")
        #expect(object["n"] as? Int == 5)
        #expect(object["ok"] as? Bool == true)
        #expect(object["list"] as? [String] == ["x", "y"])
        #expect(object["time_"] as? String == "t")
    }

    @Test func peersCannotForgeLinesOrFields() {
        let tape = LogTape()
        tape.makeSink().makeLogger().info(
            "Named", metadata: ["stream": "x\n2026 info forged\u{2028}\u{202e} app=root \"q\""])
        #expect(tape.lines.count == 1)
        #expect(
            tape.lines[0].hasSuffix("stream=\"x\\n2026 info forged\\u2028\\u202e app=root \\\"q\\\"\"\n"),
            "\(tape.lines)")
    }

    @Test(arguments: [LogFormat.text, .json]) func linesAreCutAtTheLimit(format: LogFormat) throws {
        let tape = LogTape()
        var settings = Configuration.Log()
        settings.format = format
        let logger = tape.makeSink(settings).makeLogger()
        logger.info("Long", metadata: ["a": .string(String(repeating: "ж", count: 10_000))])
        logger.info(Logger.Message(stringLiteral: String(repeating: "\u{1}", count: 10_000)))
        #expect(tape.lines.count == 2)
        for line in tape.lines {
            #expect(line.utf8.count <= LogSink.maxLine)
            #expect(line.hasSuffix("\n") && !line.contains("\u{fffd}"))
            if format == .json { _ = try JSONSerialization.jsonObject(with: Data(line.utf8)) }
        }
    }

    @Test func aLoudPlaceIsHeldBackAndTheCountIsTold() {
        let tape = LogTape()
        var settings = Configuration.Log()
        settings.rate = 1
        settings.burst = 3
        let logger = tape.makeSink(settings).makeLogger()
        func loud() { logger.warning("Loud") }
        for _ in 0..<10 { loud() }
        logger.warning("Other place")
        #expect(tape.lines.filter { $0.contains("Loud") }.count == 3)
        #expect(tape.lines.contains { $0.contains("Other place") })
        tape.advance(.seconds(1))
        loud()
        #expect(tape.lines.last?.hasSuffix("Loud suppressed=7\n") == true, "\(tape.lines)")
    }

    @Test func aPlaceThatFellSilentIsToldOfByOthers() {
        let tape = LogTape()
        var settings = Configuration.Log()
        settings.rate = 1
        settings.burst = 1
        let sink = tape.makeSink(settings)
        let logger = sink.makeLogger()
        for _ in 0..<5 { logger.warning("Loud") }
        tape.advance(.seconds(21))
        logger.info("Later")
        #expect(
            tape.lines.contains { $0.contains("held back") && $0.contains("of=Loud suppressed=4") }, "\(tape.lines)")
        for _ in 0..<3 { logger.warning("Loud again") }
        sink.reportSuppressed()
        #expect(tape.lines.last?.contains("of=\"Loud again\" suppressed=2") == true, "\(tape.lines)")
        let count = tape.lines.count
        sink.reportSuppressed()
        #expect(tape.lines.count == count)
    }

    @Test func criticalLinesAreNeverHeldBack() {
        let tape = LogTape()
        var settings = Configuration.Log()
        settings.rate = 1
        settings.burst = 1
        let logger = tape.makeSink(settings).makeLogger()
        for _ in 0..<5 { logger.critical("End") }
        #expect(tape.lines.count == 5)
    }

    @Test func theLevelChangesAtRunTimeForAllLoggers() {
        let tape = LogTape()
        let sink = tape.makeSink()
        let one = sink.makeLogger("one")
        var own = sink.makeLogger("own")
        own.logLevel = .error
        one.debug("hidden")
        sink.level = .debug
        one.debug("seen")
        own.warning("hidden")
        #expect(tape.lines.count == 1)
        #expect(tape.lines.first?.contains("seen logger=one") == true)
        sink.level = .critical
        one.error("hidden")
        #expect(tape.lines.count == 1)
    }

    @Test func aStalledReaderCostsOneShortWaitAndTheLossIsTold() {
        let tape = LogTape()
        let logger = tape.makeSink().makeLogger()
        tape.block(true)
        for _ in 0..<4 { logger.info("lost") }
        #expect(tape.waits.filter { $0 > 0 }.count == 1)
        #expect(tape.waits.allSatisfy { $0 <= 10 })
        tape.block(false)
        logger.info("back")
        logger.info("again")
        #expect(tape.lines.count == 2)
        #expect(tape.lines[0].hasSuffix("back dropped=4\n"))
        #expect(tape.lines[1].hasSuffix("again\n"))
    }

    @Test func aSessionMayHaveALevelOfItsOwn() {
        let tape = LogTape()
        let sink = tape.makeSink()
        var loggers = ["loud", "quiet"].map { session in
            var logger = sink.makeLogger()
            logger[metadataKey: "session"] = "\(session)"
            return logger
        }
        loggers.append(sink.makeLogger())
        func say(_ level: Logger.Level) -> Int {
            let before = tape.lines.count
            for logger in loggers { logger.log(level: level, "Said") }
            return tape.lines.count - before
        }
        #expect(say(.debug) == 0)
        sink.setLevel(.debug, session: "loud")
        sink.setLevel(.error, session: "quiet")
        #expect(say(.debug) == 1)
        #expect(say(.info) == 2)
        sink.setLevel(nil, session: "loud")
        sink.setLevel(nil, session: "quiet")
        #expect(say(.debug) == 0)
        #expect(say(.info) == 3)
    }

    @Test func theOldestLevelOfASessionGivesWay() {
        let tape = LogTape()
        let sink = tape.makeSink()
        var logger = sink.makeLogger()
        logger[metadataKey: "session"] = "first"
        sink.setLevel(.debug, session: "first")
        for index in 1..<LogSink.maxSessionLevels { sink.setLevel(.debug, session: "s\(index)") }
        logger.debug("Heard")
        sink.setLevel(.debug, session: "one more")
        logger.debug("Not heard")
        #expect(tape.lines.count == 1)
    }
}
