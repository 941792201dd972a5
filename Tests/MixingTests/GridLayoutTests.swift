import Mixing
import Testing

@Suite struct GridLayoutTests {
    @Test func aGridIsAsSquareAsPossibleAndItsLastRowStandsInTheMiddle() {
        let shapes = [
            1: (1, 1), 2: (2, 1), 3: (2, 2), 4: (2, 2), 5: (3, 2), 6: (3, 2), 7: (3, 3), 9: (3, 3), 10: (4, 3),
        ]
        for (count, (columns, rows)) in shapes {
            let cells = GridLayout.cells(count, .grid, width: 1_280, height: 720)
            #expect(cells.count == count)
            #expect(Set(cells.map(\.y)).count == rows, "\(count)")
            #expect(cells.count { $0.y == cells[0].y } == min(columns, count), "\(count)")
            #expect(cells.allSatisfy { $0.width == 1_280 / columns & ~1 && $0.height == 720 / rows & ~1 })
        }
        let five = GridLayout.cells(5, .grid, width: 1_200, height: 800)
        #expect(five[3] == .init(x: 200, y: 400, width: 400, height: 400))
        #expect(five[4] == .init(x: 600, y: 400, width: 400, height: 400))
    }

    @Test func placesNeverOverlapNorLeaveThePictureAndAreEven() {
        for layout in MixLayout.allCases {
            for count in 1...30 {
                for (width, height) in [(64, 64), (640, 360), (1_281, 719), (1_920, 1_080), (360, 640)] {
                    let cells = GridLayout.cells(count, layout, width: width & ~1, height: height & ~1)
                    for (index, cell) in cells.enumerated() {
                        #expect(cell.x % 2 == 0 && cell.y % 2 == 0 && cell.width % 2 == 0 && cell.height % 2 == 0)
                        #expect(cell.x >= 0 && cell.y >= 0)
                        #expect(cell.x + cell.width <= width && cell.y + cell.height <= height)
                        for other in cells[..<index] {
                            let apart =
                                cell.x >= other.x + other.width || other.x >= cell.x + cell.width
                                || cell.y >= other.y + other.height || other.y >= cell.y + cell.height
                            #expect(apart, "\(layout) \(count) \(width)x\(height)")
                        }
                    }
                }
            }
        }
        #expect(GridLayout.cells(0, .grid, width: 100, height: 100).isEmpty)
    }

    @Test func rowsAndColumns() {
        #expect(GridLayout.cells(3, .row, width: 600, height: 200).map(\.x) == [0, 200, 400])
        #expect(GridLayout.cells(3, .column, width: 200, height: 600).map(\.y) == [0, 200, 400])
    }
}
