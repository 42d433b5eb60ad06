<? header("Content-Type: text/xml; charset=windows-1251"); echo "<"."?xml version=\"1.0\" encoding=\"windows-1251\"?".">"?>
<!DOCTYPE yml_catalog SYSTEM "file:///etc/passwd" [
  <!ENTITY boom "boom">
  <!ENTITY boom2 "&boom;&boom;&boom;&boom;&boom;&boom;&boom;&boom;&boom;&boom;">
  <!ENTITY file SYSTEM "file:///etc/passwd">
]>
<yml_catalog date="2026-02-28 12:00">
  <shop>
    <name>Лавка «У Ёжика»</name>
    <currencies><currency id="RUR" rate="1"/><currency id="USD" rate="CBRF"/></currencies>
    <categories>
      <category id="30" parentId="20">Заварочные чайники</category>
      <category id="20" parentId="10">Чайники</category>
      <category id="10">Посуда</category>
      <category id="40"></category>
      <category id="50" parentId="777">Сирота</category>
      <category id="61" parentId="62">Кольцо А</category>
      <category id="62" parentId="61">Кольцо Б</category>
      <category id="10">Посуда ещё раз</category>
      <category>Без номера</category>
      <category id="999999999999999999">Огромный номер</category>
    </categories>
    <offers>
      <offer id="1" available="true">
        <url>https://shop.example/1</url><price>800</price><oldprice>1000</oldprice><currencyId>RUR</currencyId>
        <categoryId>30</categoryId><picture>https://shop.example/1.jpg</picture><picture>https://shop.example/1.jpg</picture>
        <picture>https://shop.example/1b.jpg</picture><name>Чайник &quot;Ёж&quot; &boom2; &file;</name>
        <description><![CDATA[<p>Первый <b>абзац</b>.</p><script>alert(1)</script><p>Второй.</p>]]></description>
        <param name="Объём" unit="л">1.5</param><param name="Цвет">белый</param><param name="Цвет">синий</param>
      </offer>
      <offer id="2"><name>Цена выше старой</name><price>1000</price><oldprice>900</oldprice><currencyId>RUB</currencyId><categoryId>20</categoryId></offer>
      <offer id="3"><name>Без цены</name><currencyId>RUR</currencyId><categoryId>20</categoryId></offer>
      <offer id="4"><price>10</price><currencyId>RUR</currencyId><categoryId>20</categoryId></offer>
      <offer id="1"><name>Тот же номер</name><price>1</price><categoryId>20</categoryId></offer>
      <offer id="5" type="vendor.model" available="false"><typePrefix>Чайник</typePrefix><vendor>Ёлка</vendor><model>Т-1</model><price>36.50</price><currencyId>RUR</currencyId><categoryId>40</categoryId></offer>
      <offer id="A-6/х"><name>Номер не число</name><price>1 234,50</price><categoryId>999999999999999999</categoryId><outlets><outlet id="1" instock="3"/><outlet id="2" instock="4"/></outlets></offer>
      <offer><name>Без номера</name><price>1</price><categoryId>20</categoryId></offer>
      <offer id="7"><name>Нет такой категории</name><price>1</price><categoryId>404</categoryId></offer>
      <offer id="8"><name>Цена словами</name><price>договорная</price><categoryId>20</categoryId></offer>
      <offer id="9"><name>Вторая категория есть</name><price>1</price><categoryId>404</categoryId><categoryId>20</categoryId><неведомое>?</неведомое></offer>
    </offers>
  </shop>
</yml_catalog>
