(() => {
  // src/shapes.ts
  var area = ({ width, height }) => width * height;
  var perimeter = ({ width, height }) => 2 * (width + height);

  // src/greeting.json
  var greeting_default = { hello: "h\xE9llo" };

  // a.js
  console.log(greeting_default.hello, area({ width: 3, height: 4 }), perimeter({ width: 3, height: 4 }));
})();
