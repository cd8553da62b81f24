// A small machine: register file, arithmetic, multiplier, FIFO, UART, a ring of counters.
module alu #(parameter W = 16) (input [W-1:0] a, b, input [3:0] op, output reg [W-1:0] y, output zero, output reg carry);
  always @* begin
    carry = 1'b0;
    case (op)
      4'd0: {carry, y} = a + b;
      4'd1: {carry, y} = a - b;
      4'd2: y = a & b;
      4'd3: y = a | b;
      4'd4: y = a ^ b;
      4'd5: y = a << b[3:0];
      4'd6: y = a >> b[3:0];
      4'd7: y = $signed(a) >>> b[3:0];
      4'd8: y = (a < b) ? 1 : 0;
      4'd9: y = ($signed(a) < $signed(b)) ? 1 : 0;
      4'd10: y = ~(a | b);
      4'd11: y = a * b;
      default: y = b;
    endcase
  end
  assign zero = ~|y;
endmodule

module regs #(parameter W = 16, N = 8) (input clk, we, input [2:0] ra, rb, rd, input [W-1:0] d, output [W-1:0] qa, qb);
  reg [W-1:0] r [0:N-1];
  assign qa = ra == 0 ? 0 : r[ra];
  assign qb = rb == 0 ? 0 : r[rb];
  always @(posedge clk) if (we) r[rd] <= d;
endmodule

module fifo #(parameter W = 8, L = 6) (input clk, rst, push, pop, input [W-1:0] d, output reg [W-1:0] q, output full, empty);
  reg [W-1:0] mem [0:(1<<L)-1];
  reg [L:0] head, tail;
  assign empty = head == tail;
  assign full = head[L-1:0] == tail[L-1:0] && head[L] != tail[L];
  always @(posedge clk)
    if (rst) begin head <= 0; tail <= 0; end
    else begin
      if (push && !full) begin mem[head[L-1:0]] <= d; head <= head + 1; end
      if (pop && !empty) tail <= tail + 1;
      q <= mem[tail[L-1:0]];
    end
endmodule

module uart_tx #(parameter DIV = 104) (input clk, rst, start, input [7:0] d, output reg tx, output busy);
  reg [3:0] state; reg [7:0] shift; reg [$clog2(DIV)-1:0] count;
  assign busy = state != 0;
  always @(posedge clk)
    if (rst) begin state <= 0; tx <= 1; count <= 0; end
    else if (state == 0) begin tx <= 1; if (start) begin state <= 1; shift <= d; count <= 0; end end
    else if (count == DIV-1) begin
      count <= 0;
      if (state == 1) begin tx <= 0; state <= 2; end
      else if (state < 10) begin tx <= shift[0]; shift <= shift >> 1; state <= state + 1; end
      else begin tx <= 1; state <= 0; end
    end else count <= count + 1;
endmodule

module machine (input clk, rst, input [15:0] insn, output reg [15:0] pc, output [15:0] out, output tx);
  wire [15:0] a, b, y; wire zero, carry, busy, full, empty; wire [7:0] q; reg z, c;
  wire writes = insn[15:14] == 0 || insn[15:14] == 1;
  wire [15:0] operand = insn[14] ? {{10{insn[5]}}, insn[5:0]} : b;
  regs file (clk, writes, insn[5:3], insn[2:0], insn[8:6], y, a, b);
  alu unit (a, operand, insn[12:9], y, zero, carry);
  fifo queue (clk, rst, insn[15:13] == 4, !busy, a[7:0], q, full, empty);
  uart_tx line (clk, rst, !empty, q, tx, busy);
  assign out = y ^ {14'b0, full, empty};
  always @(posedge clk)
    if (rst) begin pc <= 0; z <= 0; c <= 0; end
    else begin
      z <= zero; c <= carry;
      if (insn[15:14] == 3) begin
        case (insn[13:12])
          0: pc <= pc + {{4{insn[11]}}, insn[11:0]};
          1: if (z) pc <= pc + {{4{insn[11]}}, insn[11:0]}; else pc <= pc + 1;
          2: if (c) pc <= pc + {{4{insn[11]}}, insn[11:0]}; else pc <= pc + 1;
          3: pc <= a;
        endcase
      end else pc <= pc + 1;
    end
endmodule

module stage0 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [7:0] lfsr;
  wire feedback = lfsr[7] ^ lfsr[3] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 1; out <= 0; end
    else begin
      lfsr <= {lfsr[6:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 3;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 5;
        4'b001?: out <= in - {8'd0, lfsr[7:0]};
        default: out <= in == 16'd0 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage1 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [8:0] lfsr;
  wire feedback = lfsr[8] ^ lfsr[3] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 2; out <= 0; end
    else begin
      lfsr <= {lfsr[7:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 4;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 262;
        4'b001?: out <= in - {8'd1, lfsr[7:0]};
        default: out <= in == 16'd100 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage2 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [9:0] lfsr;
  wire feedback = lfsr[9] ^ lfsr[4] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 3; out <= 0; end
    else begin
      lfsr <= {lfsr[8:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 5;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 519;
        4'b001?: out <= in - {8'd2, lfsr[7:0]};
        default: out <= in == 16'd200 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage3 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [10:0] lfsr;
  wire feedback = lfsr[10] ^ lfsr[4] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 4; out <= 0; end
    else begin
      lfsr <= {lfsr[9:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 6;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 776;
        4'b001?: out <= in - {8'd3, lfsr[7:0]};
        default: out <= in == 16'd300 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage4 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [11:0] lfsr;
  wire feedback = lfsr[11] ^ lfsr[5] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 5; out <= 0; end
    else begin
      lfsr <= {lfsr[10:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 7;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 1033;
        4'b001?: out <= in - {8'd4, lfsr[7:0]};
        default: out <= in == 16'd400 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage5 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [12:0] lfsr;
  wire feedback = lfsr[12] ^ lfsr[5] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 6; out <= 0; end
    else begin
      lfsr <= {lfsr[11:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 8;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 1290;
        4'b001?: out <= in - {8'd5, lfsr[7:0]};
        default: out <= in == 16'd500 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage6 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [13:0] lfsr;
  wire feedback = lfsr[13] ^ lfsr[6] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 7; out <= 0; end
    else begin
      lfsr <= {lfsr[12:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 9;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 1547;
        4'b001?: out <= in - {8'd6, lfsr[7:0]};
        default: out <= in == 16'd600 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage7 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [14:0] lfsr;
  wire feedback = lfsr[14] ^ lfsr[6] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 8; out <= 0; end
    else begin
      lfsr <= {lfsr[13:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 10;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 1804;
        4'b001?: out <= in - {8'd7, lfsr[7:0]};
        default: out <= in == 16'd700 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage8 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [15:0] lfsr;
  wire feedback = lfsr[15] ^ lfsr[7] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 9; out <= 0; end
    else begin
      lfsr <= {lfsr[14:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 11;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 2061;
        4'b001?: out <= in - {8'd8, lfsr[7:0]};
        default: out <= in == 16'd800 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage9 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [16:0] lfsr;
  wire feedback = lfsr[16] ^ lfsr[7] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 10; out <= 0; end
    else begin
      lfsr <= {lfsr[15:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 12;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 2318;
        4'b001?: out <= in - {8'd9, lfsr[7:0]};
        default: out <= in == 16'd900 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage10 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [17:0] lfsr;
  wire feedback = lfsr[17] ^ lfsr[8] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 11; out <= 0; end
    else begin
      lfsr <= {lfsr[16:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 13;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 2575;
        4'b001?: out <= in - {8'd10, lfsr[7:0]};
        default: out <= in == 16'd1000 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module stage11 (input clk, rst, input [15:0] in, output reg [15:0] out);
  reg [18:0] lfsr;
  wire feedback = lfsr[18] ^ lfsr[8] ^ lfsr[1];
  always @(posedge clk)
    if (rst) begin lfsr <= 12; out <= 0; end
    else begin
      lfsr <= {lfsr[17:0], feedback};
      casez (in[15:12])
        4'b1???: out <= in + lfsr[7:0] * 14;
        4'b01??: out <= {in[7:0], in[15:8]} ^ 2832;
        4'b001?: out <= in - {8'd11, lfsr[7:0]};
        default: out <= in == 16'd1100 ? ~in : in | lfsr[7:0];
      endcase
    end
endmodule

module top (input clk, rst, input [15:0] insn, output [15:0] pc, output [15:0] out, output tx);
  wire [15:0] s0;
  machine core (clk, rst, insn, pc, s0, tx);
  wire [15:0] s1;
  stage0 u0 (clk, rst, s0, s1);
  wire [15:0] s2;
  stage1 u1 (clk, rst, s1, s2);
  wire [15:0] s3;
  stage2 u2 (clk, rst, s2, s3);
  wire [15:0] s4;
  stage3 u3 (clk, rst, s3, s4);
  wire [15:0] s5;
  stage4 u4 (clk, rst, s4, s5);
  wire [15:0] s6;
  stage5 u5 (clk, rst, s5, s6);
  wire [15:0] s7;
  stage6 u6 (clk, rst, s6, s7);
  wire [15:0] s8;
  stage7 u7 (clk, rst, s7, s8);
  wire [15:0] s9;
  stage8 u8 (clk, rst, s8, s9);
  wire [15:0] s10;
  stage9 u9 (clk, rst, s9, s10);
  wire [15:0] s11;
  stage10 u10 (clk, rst, s10, s11);
  wire [15:0] s12;
  stage11 u11 (clk, rst, s11, s12);
  assign out = s12;
endmodule
